//! On which ports a process listens, from what the kernel tells of it: for the reason why nobody answers on the one that it was
//! told. Nothing is decided by it.

use std::collections::{BTreeSet, HashMap};
use std::fs;

/// A program and what it has started; one that has started more is not looked through.
const MOST_PROCESSES: usize = 64;
/// The state of a socket that listens, as `/proc/net/tcp` has it.
const LISTEN: &str = "0A";

/// The ports on which the process or one of those that it has started listens; none where the kernel does not tell.
pub(super) fn listens(pid: u32) -> BTreeSet<u16> {
    let ports = listening(pid);
    let sockets = family(pid).into_iter().flat_map(sockets);
    sockets.filter_map(|socket| ports.get(&socket).copied()).collect()
}

/// The process and all that it has started.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next).copied().filter(|_| family.len() < MOST_PROCESSES) {
        family.extend(children(pid));
        next += 1;
    }
    family
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// The numbers of a process's sockets.
fn sockets(pid: u32) -> Vec<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let number = |link: std::path::PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    links.filter_map(number).collect()
}

/// The ports of sockets that listen where the process is, by the sockets' numbers.
fn listening(pid: u32) -> HashMap<u64, u16> {
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1).filter_map(listener)).collect()
}

/// `0: 0100007F:1F90 00000000:0000 0A … inode …`
fn listener(line: &str) -> Option<(u64, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    words.nth(1).filter(|state| *state == LISTEN)?;
    let socket = words.nth(5)?.parse().ok()?;
    Some((socket, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_process_that_listens_is_found_by_its_ports() {
        let sockets = ["127.0.0.1:0", "[::]:0"].map(|address| TcpListener::bind(address).unwrap());
        let found = listens(std::process::id());
        for socket in &sockets {
            assert!(found.contains(&socket.local_addr().unwrap().port()), "{found:?}");
        }
        assert!(listens(u32::MAX).is_empty(), "there is no such process");
    }

    #[test]
    fn lines_of_the_kernels_table() {
        let listens =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0 100";
        assert_eq!(listener(listens), Some((41, 8080)));
        assert_eq!(listener(&listens.replace(" 0A ", " 01 ")), None, "it is a connection");
        assert_eq!(listener("sl local_address"), None);
    }
}
