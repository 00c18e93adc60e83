//! The real soroban-env-host behind a line protocol. Fields are separated by tabs, XDR is in base64, lists
//! are separated by commas. One line in, one line out.
//!
//!   network <id in hex> <min temporary> <min persistent> <max time to live>
//!   put <LedgerEntry> <live until | ->
//!   del <LedgerKey>
//!   get <LedgerKey>                                    -> <LedgerEntry> <live until | ->  or  none
//!   record  <HostFunction> <AccountId> <auth | record> <sequence> <time>
//!   enforce <HostFunction> <AccountId> <auth> <sequence> <time> <SorobanResources> <archived indices>
//!
//! `record` runs as a simulation does and keeps nothing, `enforce` as a ledger does and keeps the changes.
//! Both answer
//!   ok <value> <instructions> <memory> <events> <auth> <SorobanResources> <archived> <changes>
//!   err <error> <diagnostics>
//! A change is readonly:key:new entry:old live:new live:old size for rent:new size for rent.

use sha2::{Digest, Sha256};
use soroban_env_host::{
    budget::Budget,
    e2e_invoke::{
        invoke_host_function, invoke_host_function_in_recording_mode, LedgerEntryChange,
        RecordingInvocationAuthMode, RecordingInvocationAuthParams,
    },
    storage::SnapshotSource,
    xdr::{
        AccountId, ContractDataDurability, ContractEvent, ContractEventBody, DiagnosticEvent, Hash,
        HostFunction, LedgerEntry, LedgerKey, Limits, ReadXdr, ScVal, SorobanAuthorizationEntry,
        SorobanResources, TtlEntry, WriteXdr,
    },
    HostError, LedgerInfo,
};
use std::{cell::RefCell, collections::BTreeMap, io::BufRead, rc::Rc};

type Entries = BTreeMap<LedgerKey, (Rc<LedgerEntry>, Option<u32>)>;

#[derive(Clone, Default)]
struct Ledger(Rc<RefCell<Entries>>);

impl SnapshotSource for Ledger {
    fn get(&self, key: &Rc<LedgerKey>) -> Result<Option<(Rc<LedgerEntry>, Option<u32>)>, HostError> {
        Ok(self.0.borrow().get(key.as_ref()).cloned())
    }
}

struct Network {
    id: [u8; 32],
    min_temporary: u32,
    min_persistent: u32,
    max: u32,
}

impl Network {
    fn at(&self, sequence: &str, time: &str) -> LedgerInfo {
        LedgerInfo {
            protocol_version: 27,
            sequence_number: sequence.parse().unwrap(),
            timestamp: time.parse().unwrap(),
            network_id: self.id,
            base_reserve: 5_000_000,
            min_temp_entry_ttl: self.min_temporary,
            min_persistent_entry_ttl: self.min_persistent,
            max_entry_ttl: self.max,
        }
    }
}

fn read<T: ReadXdr>(text: &str) -> T {
    T::from_xdr_base64(text, Limits::none()).expect("XDR in base64")
}

fn write<T: WriteXdr>(value: &T) -> String {
    value.to_xdr_base64(Limits::none()).unwrap()
}

fn bytes<T: WriteXdr>(value: &T) -> Vec<u8> {
    value.to_xdr(Limits::none()).unwrap()
}

fn list<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    items.into_iter().map(show).collect::<Vec<_>>().join(",")
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

/// What a failed call said, on one line.
fn said(diagnostics: &[DiagnosticEvent]) -> String {
    let mut words = vec![];
    for diagnostic in diagnostics {
        let ContractEventBody::V0(body) = &diagnostic.event.body;
        match &body.data {
            ScVal::String(text) => words.push(text.0.to_string()),
            ScVal::Vec(Some(parts)) => words.extend(parts.iter().filter_map(|part| match part {
                ScVal::String(text) => Some(text.0.to_string()),
                _ => None,
            })),
            _ => (),
        }
    }
    words.join(" | ").replace(['\n', '\t'], " ")
}

fn change(change: &LedgerEntryChange) -> String {
    let key = LedgerKey::from_xdr(&change.encoded_key, Limits::none()).unwrap();
    let new = change.encoded_new_value.as_ref().map_or("-".into(), |raw| {
        write(&LedgerEntry::from_xdr(raw, Limits::none()).unwrap())
    });
    let (old_live, new_live) = change
        .ttl_change
        .as_ref()
        .map_or((0, 0), |ttl| (ttl.old_live_until_ledger, ttl.new_live_until_ledger));
    format!(
        "{}:{}:{new}:{old_live}:{new_live}:{}:{}",
        change.read_only as u8,
        write(&key),
        change.old_entry_size_bytes_for_rent,
        change.new_entry_size_bytes_for_rent
    )
}

fn keep(ledger: &Ledger, changes: &[LedgerEntryChange]) {
    let mut entries = ledger.0.borrow_mut();
    for change in changes {
        let key = LedgerKey::from_xdr(&change.encoded_key, Limits::none()).unwrap();
        let live = change.ttl_change.as_ref().map(|ttl| ttl.new_live_until_ledger);
        if change.read_only {
            if let (Some(entry), Some(live)) = (entries.get_mut(&key), live) {
                entry.1 = entry.1.max(Some(live));
            }
            continue;
        }
        match &change.encoded_new_value {
            Some(raw) => {
                let entry = LedgerEntry::from_xdr(raw, Limits::none()).unwrap();
                entries.insert(key, (Rc::new(entry), live));
            }
            None => {
                entries.remove(&key);
            }
        }
    }
}

fn record(ledger: &Ledger, network: &Network, field: &[&str]) -> String {
    let auth = match field[3] {
        "record" => RecordingInvocationAuthMode::Recording(RecordingInvocationAuthParams::new(true, true)),
        given => RecordingInvocationAuthMode::Enforcing(split(given).map(read).collect()),
    };
    let budget = Budget::default();
    let mut diagnostics = vec![];
    let done = invoke_host_function_in_recording_mode(
        &budget,
        true,
        &read(field[1]),
        &read(field[2]),
        auth,
        network.at(field[4], field[5]),
        Rc::new(ledger.clone()),
        // The nonces of recorded authorizations come from this.
        Sha256::digest(format!("{}{}", field[1], field[4])).into(),
        &mut diagnostics,
    );
    let done = match done {
        Err(error) => return format!("err\t{:?}\thost", error.error),
        Ok(done) => done,
    };
    match done.invoke_result {
        Err(error) => format!("err\t{:?}\t{}", error.error, said(&diagnostics)),
        Ok(value) => format!(
            "ok\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            write(&value),
            budget.get_cpu_insns_consumed().unwrap(),
            budget.get_mem_bytes_consumed().unwrap(),
            list(&done.contract_events, write),
            list(&done.auth, write),
            write(&done.resources),
            list(&done.restored_rw_entry_indices, |index| index.to_string()),
            list(&done.ledger_changes, change),
        ),
    }
}

fn enforce(ledger: &Ledger, network: &Network, field: &[&str]) -> String {
    let resources: SorobanResources = read(field[6]);
    let archived: Vec<u32> = split(field[7]).map(|index| index.parse().unwrap()).collect();
    let info = network.at(field[4], field[5]);
    let (mut entries, mut lives) = (vec![], vec![]);
    let writable = resources.footprint.read_write.iter().enumerate();
    let keys = resources.footprint.read_only.iter().map(|key| (None, key));
    for (index, key) in keys.chain(writable.map(|(index, key)| (Some(index as u32), key))) {
        let Some((entry, live)) = ledger.0.borrow().get(key).cloned() else {
            continue;
        };
        let restored = index.is_some_and(|index| archived.contains(&index));
        match live {
            // What stellar-core does before it calls the host.
            Some(live) if live < info.sequence_number && !restored => {
                let temporary = matches!(key, LedgerKey::ContractData(data)
                    if data.durability == ContractDataDurability::Temporary);
                if temporary {
                    continue;
                }
                return "err\tarchived\tcore".into();
            }
            _ => (),
        }
        entries.push(bytes(entry.as_ref()));
        lives.push(live.map_or(vec![], |live| {
            bytes(&TtlEntry {
                key_hash: Hash(Sha256::digest(bytes(key)).into()),
                live_until_ledger_seq: if restored {
                    info.sequence_number + network.min_persistent - 1
                } else {
                    live
                },
            })
        }));
    }
    let auth: Vec<Vec<u8>> =
        split(field[3]).map(|entry| bytes(&read::<SorobanAuthorizationEntry>(entry))).collect();
    let budget = Budget::default();
    let mut diagnostics = vec![];
    let done = invoke_host_function(
        &budget,
        true,
        bytes(&read::<HostFunction>(field[1])),
        bytes(&resources),
        &archived,
        bytes(&read::<AccountId>(field[2])),
        auth.into_iter(),
        info,
        entries.into_iter(),
        lives.into_iter(),
        vec![7; 32],
        &mut diagnostics,
        None,
        None,
    );
    let done = match done {
        Err(error) => return format!("err\t{:?}\thost", error.error),
        Ok(done) => done,
    };
    match done.encoded_invoke_result {
        Err(error) => format!("err\t{:?}\t{}", error.error, said(&diagnostics)),
        Ok(raw) => {
            keep(ledger, &done.ledger_changes);
            let events = done.encoded_contract_events.iter();
            format!(
                "ok\t{}\t{}\t{}\t{}\t\t{}\t{}\t{}",
                write(&ScVal::from_xdr(raw, Limits::none()).unwrap()),
                budget.get_cpu_insns_consumed().unwrap(),
                budget.get_mem_bytes_consumed().unwrap(),
                list(events, |raw| write(&ContractEvent::from_xdr(raw, Limits::none()).unwrap())),
                field[6],
                field[7],
                list(&done.ledger_changes, change),
            )
        }
    }
}

fn hex(text: &str) -> [u8; 32] {
    let byte = |index: usize| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap();
    std::array::from_fn(byte)
}

fn main() {
    let ledger = Ledger::default();
    let mut network = Network { id: [0; 32], min_temporary: 17_280, min_persistent: 2_073_600, max: 3_110_400 };
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let field: Vec<&str> = line.split('\t').collect();
        let answer = match field[0] {
            "network" => {
                let number = |index: usize| field[index].parse().unwrap();
                network = Network {
                    id: hex(field[1]),
                    min_temporary: number(2),
                    min_persistent: number(3),
                    max: number(4),
                };
                "ok".into()
            }
            "put" => {
                let entry: LedgerEntry = read(field[1]);
                ledger.0.borrow_mut().insert(entry.to_key(), (Rc::new(entry), field[2].parse().ok()));
                "ok".into()
            }
            "del" => {
                ledger.0.borrow_mut().remove(&read::<LedgerKey>(field[1]));
                "ok".into()
            }
            "get" => match ledger.0.borrow().get(&read::<LedgerKey>(field[1])) {
                Some((entry, live)) => {
                    let live = live.map_or("-".into(), |live| live.to_string());
                    format!("{}\t{live}", write(entry.as_ref()))
                }
                None => "none".into(),
            },
            "record" => record(&ledger, &network, &field),
            "enforce" => enforce(&ledger, &network, &field),
            other => format!("err\tunknown command {other}\tjudge"),
        };
        println!("{answer}");
    }
}
