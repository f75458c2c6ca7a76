//! How large each input is: the model's fixed dimensions, `--rows` for an open first one, `--shape` for the rest.

use weirgate_protocol::{Dim, Shape, TensorSpec};

use super::named;

/// The shape of each input, in their order.
pub fn of(inputs: &[TensorSpec], rows: usize, given: &[String]) -> Result<Vec<Shape>, String> {
    let mut shapes: Vec<Option<Shape>> = vec![None; inputs.len()];
    for text in given {
        let (index, dims) = named(inputs, "--shape", text)?;
        let shape = parse(text, dims)?;
        check(&inputs[index], &shape)?;
        if shapes[index].replace(shape).is_some() {
            return Err(format!("--shape names '{}' twice: give one shape", inputs[index].name));
        }
    }
    inputs
        .iter()
        .zip(shapes)
        .map(|(input, shape)| match shape {
            Some(shape) => Ok(shape),
            None => by_rows(input, rows),
        })
        .collect()
}

pub(super) fn parse(text: &str, dims: &str) -> Result<Shape, String> {
    let wrong = || format!("--shape '{text}' is not a shape: write it as NAME=1,128, each dimension at least 1");
    dims.split(',').map(|dim| dim.trim().parse::<usize>().ok().filter(|&dim| dim > 0).ok_or_else(wrong)).collect()
}

fn check(input: &TensorSpec, shape: &Shape) -> Result<(), String> {
    let fits = input.shape.len() == shape.len()
        && input.shape.iter().zip(shape).all(|(dim, size)| matches!(dim, Dim::Dynamic(_)) || *dim == Dim::Fixed(*size));
    if fits {
        return Ok(());
    }
    Err(format!("--shape gives '{}' the shape {:?}, the model takes {}", input.name, &shape[..], shown(input)))
}

fn by_rows(input: &TensorSpec, rows: usize) -> Result<Shape, String> {
    if rows == 0 {
        return Err("--rows is 0: a request has a row at least".to_owned());
    }
    let size = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => Ok(*size),
        Dim::Dynamic(_) if axis == 0 => Ok(rows),
        Dim::Dynamic(_) => Err(format!(
            "input '{}' has shape {}, which leaves more open than its rows: give it as --shape {}={}",
            input.name,
            shown(input),
            input.name,
            example(input, rows)
        )),
    };
    input.shape.iter().enumerate().map(size).collect()
}

/// A shape that would do, to copy.
fn example(input: &TensorSpec, rows: usize) -> String {
    let size = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Dynamic(_) if axis == 0 => rows.to_string(),
        Dim::Dynamic(_) => "128".to_owned(),
    };
    input.shape.iter().enumerate().map(size).collect::<Vec<_>>().join(",")
}

/// As V2 writes it.
fn shown(input: &TensorSpec) -> String {
    format!("{:?}", input.shape.iter().map(Dim::v2).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::Datatype;

    use super::*;

    fn ids() -> Vec<TensorSpec> {
        let open = || Dim::Dynamic("".into());
        let shape = vec![open(), open(), Dim::Fixed(3)];
        vec![TensorSpec { name: "a=b".into(), datatype: Datatype::Int64, shape }]
    }

    fn shapes(rows: usize, given: &[&str]) -> Result<Vec<Vec<usize>>, String> {
        let given: Vec<_> = given.iter().map(|&text| text.to_owned()).collect();
        Ok(of(&ids(), rows, &given)?.iter().map(|shape| shape.to_vec()).collect())
    }

    #[test]
    fn a_given_shape_fills_what_the_model_leaves_open() {
        assert_eq!(shapes(1, &["a=b=2,7,3"]), Ok(vec![vec![2, 7, 3]]));
    }

    #[test]
    fn an_open_dimension_past_the_first_must_be_given() {
        let error = shapes(8, &[]).unwrap_err();
        assert_eq!(
            error,
            "input 'a=b' has shape [-1, -1, 3], which leaves more open than its rows: give it as --shape a=b=8,128,3"
        );
    }

    #[test]
    fn shapes_that_do_not_fit_are_told() {
        for (given, part) in [
            (&["a=b=2,7"][..], "the shape [2, 7], the model takes [-1, -1, 3]"),
            (&["a=b=2,7,4"], "the shape [2, 7, 4]"),
            (&["a=b=2,0,3"], "is not a shape"),
            (&["a=b=2,-1,3"], "is not a shape"),
            (&["a=b=1,1,3", "a=b=2,2,3"], "twice"),
        ] {
            let error = shapes(1, given).unwrap_err();
            assert!(error.contains(part), "{given:?}: {error}");
        }
        let fixed =
            vec![TensorSpec { name: "x".into(), datatype: Datatype::Fp32, shape: vec![Dim::Dynamic("".into())] }];
        assert!(of(&fixed, 0, &[]).unwrap_err().contains("--rows is 0"));
    }
}
