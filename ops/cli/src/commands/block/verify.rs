//! `obsqra block verify`: recomputes what the hash of one block covers, without node, database or settings.

use std::path::Path;
use std::process::ExitCode;

use obsqra_events::{Check, Difference};
use obsqra_indexer::completeness::{Findings, Outcome, check};
use obsqra_indexer::source::{BlockShape, SourceBlock, read_block_file};
use obsqra_types::felt_hex;

/// Width of the column of names.
const WIDTH: usize = 24;

/// The file cannot be read at all.
const WRONG_USE: u8 = 2;

/// Checks a block out of a file. Ends with 0 when event commitment and block hash hold, 1 when they do not or
/// cannot be told, 2 when the file cannot be read.
pub(crate) fn verify(file: &Path) -> ExitCode {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("obsqra: block file {}: {error}", file.display());
            return ExitCode::from(WRONG_USE);
        }
    };
    let (shape, block) = match read_block_file(&bytes) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("obsqra: block file {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    let findings = check(&block);
    print(shape, &block, &findings);
    match findings.outcome {
        Outcome::Verified => ExitCode::SUCCESS,
        Outcome::Unverifiable(_) | Outcome::Mismatch(_) => ExitCode::FAILURE,
    }
}

fn print(shape: BlockShape, block: &SourceBlock, findings: &Findings) {
    let version =
        if block.starknet_version.is_empty() { "unstated" } else { &block.starknet_version };
    println!("block {} with hash {}", block.number, felt_hex(&block.hash.0));
    println!("read as: {shape}; Starknet version {version}");
    let transactions = block.transactions.as_ref().map_or(0, Vec::len);
    let counted = match (shape, &block.supplied) {
        (BlockShape::FeederGateway, Some(_)) => ", counted: the file does not state how many",
        _ => "",
    };
    println!("{transactions} transactions, {} events{counted}", block.events.len());
    for check in &findings.checks {
        println!("  {:<WIDTH$}holds", check.name());
    }
    match &findings.outcome {
        Outcome::Verified => {
            for check in unchecked(findings) {
                println!(
                    "  {:<WIDTH$}not recomputed: what it covers is not all there",
                    check.name()
                );
            }
            println!(
                "verified: events and header make the block hash; the parent was not looked at"
            );
        }
        Outcome::Unverifiable(reason) => println!("unverifiable: {reason}"),
        Outcome::Mismatch(differences) => {
            for Difference { member, stated, computed } in differences {
                println!("  {member:<WIDTH$}is stated as {stated}");
                println!("  {:<WIDTH$}its content makes {computed}", "");
            }
            println!("mismatch: the block is not whole, or not what its hash was taken over");
        }
    }
}

/// Commitments that the hash covers and that were taken as the header states them.
fn unchecked(findings: &Findings) -> impl Iterator<Item = Check> {
    [Check::TransactionCommitment, Check::ReceiptCommitment]
        .into_iter()
        .filter(|check| !findings.checks.contains(check))
        // Before 0.13.2 there is no commitment to receipts.
        .filter(|check| findings.computed.is_none() || *check != Check::ReceiptCommitment)
}
