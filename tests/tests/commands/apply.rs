//! `apply` and `delete`.

use weirgate_tests::{Caller, Server, Service, To};

#[tokio::test(flavor = "multi_thread")]
async fn apply_takes_files_folders_and_standard_input() {
    let server = Server::with([]).without_files().start().await;
    let file = server.folder().file("one.yaml", &Service::sum(1).named("one").yaml());
    let folder = server.folder().folder("several");
    for name in ["two", "three"] {
        std::fs::write(folder.join(format!("{name}.yaml")), Service::sum(2).named(name).yaml()).unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "not a manifest").unwrap();
    let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
    let printed = server.done(&["apply", "-f", file, "-f", folder, "--wait"]).await;
    for name in ["one", "two", "three"] {
        assert!(printed.contains(&format!("inferenceservice.serving.kserve.io/{name} created\n")), "{printed}");
    }
    let two = format!("{}---\n{}", Service::sum(3).named("one").yaml(), Service::sum(2).named("two").yaml());
    let output = server.cli_with_input(&["apply", "-f", "-", "--wait"], &two).await;
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("/one configured\n") && printed.contains("/two unchanged\n"), "{printed}");
    assert!(printed.contains("default/one: rolled out"), "{printed}");
    let mut caller = Caller::http(server.data).await;
    for (name, model) in [("one", "add_3"), ("two", "add_2"), ("three", "add_2")] {
        assert_eq!(caller.ask(&To::model(name)).await.unwrap().model, model);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_takes_all_or_nothing() {
    let server = Server::with([]).without_files().start().await;
    let wrong = Service::sum(1).named("wrong").yaml().replace("  predictor:\n", "  predictor:\n    timeout: 0\n");
    let both = format!("{}---\n{wrong}", Service::sum(1).yaml());
    let output = server.cli_with_input(&["apply", "-f", "-"], &both).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("default/wrong") && text.contains("spec.predictor.timeout"), "{text}");
    assert!(server.view("sum").await.is_none());
    // A warning is told and stops nothing.
    let warned = Service::sum(1).field("maxReplicas", 3).yaml();
    let output = server.cli_with_input(&["apply", "-f", "-"], &warned).await;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("warning: ") && text.contains("maxReplicas"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_and_wait_fails_where_the_model_does() {
    let server = Server::with([]).without_files().start().await;
    let broken = Service::new("broken").yaml();
    let output = server.cli_with_input(&["apply", "-f", "-", "--wait"], &broken).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("default/broken") && text.contains("model.onnx"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_and_wait_tells_of_every_service_whichever_fails() {
    let server = Server::with([]).without_files().start().await;
    let broken = |name: &str| Service::new("broken").named(name).yaml();
    let all = [broken("first"), Service::sum(1).named("good").yaml(), broken("last")].join("---\n");
    let output = server.cli_with_input(&["apply", "-f", "-", "--wait"], &all).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (told, wrong) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(told.contains("default/good: rolled out"), "{told}");
    for name in ["first", "last"] {
        assert_eq!(wrong.matches(&format!("error: default/{name}: ")).count(), 1, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_ends_a_service_by_name_or_by_file() {
    let server = Server::with([]).without_files().start().await;
    let names = ["one", "two", "three"];
    let file = |name: &str| server.folder().file(&format!("{name}.yaml"), &Service::sum(1).named(name).yaml());
    let files = names.map(file);
    for (name, file) in names.iter().zip(&files) {
        server.done(&["apply", "-f", file.to_str().unwrap(), "--wait"]).await;
        assert!(server.view(name).await.is_some());
    }
    let deleted = |name: &str| format!("inferenceservice.serving.kserve.io \"{name}\" deleted\n");
    assert_eq!(server.done(&["delete", "one"]).await, deleted("one"));
    assert_eq!(server.done(&["delete", "isvc/two"]).await, deleted("two"));
    assert_eq!(server.done(&["delete", "-f", files[2].to_str().unwrap()]).await, deleted("three"));
    let text = server.fails(&["delete", "one"]).await;
    assert!(text.contains("there is no inferenceservice default/one"), "{text}");
    let mut caller = Caller::http(server.data).await;
    for name in names {
        assert!(server.view(name).await.is_none());
        assert!(caller.ask(&To::model(name)).await.unwrap_err().starts_with("404"));
    }
    // A name that was deleted is free again.
    server.done(&["apply", "-f", files[0].to_str().unwrap(), "--wait"]).await;
    assert_eq!(caller.ask(&To::model("one")).await.unwrap().model, "add_1");
}
