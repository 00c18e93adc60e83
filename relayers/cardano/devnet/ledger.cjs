// The scalus ledger behind one line of JSON per call: {op, ...} on stdin, {ok, ...} or {ok: false, error} on
// stdout. Snapshots are kept by block height, so that the chain can be rolled back. Ends with its stdin.
"use strict";

const { Emulator, SlotConfig, Scalus } = require(process.argv[2]);
const lines = require("readline").createInterface({ input: process.stdin });

const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const number = (_, value) => (typeof value === "bigint" ? Number(value) : value);

let slots = null;
let state = null;
const snapshots = new Map();

const operations = {
  init({ utxos, zeroTime }) {
    slots = new SlotConfig(zeroTime, 0, 1000);
    state = new Emulator(bytes(utxos), slots);
    snapshots.clear();
    return {};
  },
  slot({ slot }) {
    state.setSlot(slot);
    return {};
  },
  submit({ tx }) {
    const result = state.submitTx(bytes(tx));
    return { accepted: result.isSuccess, id: result.txHash, error: result.error, logs: result.logs };
  },
  save({ height }) {
    snapshots.set(height, state.snapshot());
    return {};
  },
  restore({ height }) {
    state = snapshots.get(height).snapshot();
    return {};
  },
  forget({ below }) {
    for (const height of snapshots.keys()) if (height < below) snapshots.delete(height);
    return {};
  },
  evaluate({ tx, utxos, costModels }) {
    const redeemers = Scalus.evalPlutusScripts(bytes(tx), bytes(utxos), slots, costModels);
    return {
      redeemers: redeemers.map((one) => ({
        tag: one.tag.toLowerCase(),
        index: one.index,
        memory: one.budget.memory,
        steps: one.budget.steps,
      })),
    };
  },
};

lines.on("line", (line) => {
  let answer;
  try {
    const call = JSON.parse(line);
    answer = { ok: true, ...operations[call.op](call) };
  } catch (error) {
    answer = { ok: false, error: String((error && error.message) || error), logs: error && error.logs };
  }
  process.stdout.write(JSON.stringify(answer, number) + "\n");
});
