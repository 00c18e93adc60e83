// What a JavaScript wallet does with @stellar/stellar-sdk, unmodified: `node js_wallet.mjs NODE_MODULES JSON`.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, given] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const sdk = require("@stellar/stellar-sdk");
const { rpc, Keypair, Networks, TransactionBuilder, Operation, Contract, Address, nativeToScVal, scValToNative, xdr } = sdk;
const want = JSON.parse(given);
const server = new rpc.Server(want.url, { allowHttp: true });
const key = (seed) => Keypair.fromRawEd25519Seed(Buffer.from(seed, "hex"));
const bytes = (hex) => nativeToScVal(Buffer.from(hex, "hex"), { type: "bytes" });

// The default flow: send, then ask until it is in a ledger.
async function submit(transaction) {
  const sent = await server.sendTransaction(transaction);
  if (sent.status !== "PENDING") throw new Error(`${sent.status} ${JSON.stringify(sent.errorResult ?? "")}`);
  const got = await server.pollTransaction(sent.hash, { attempts: 60, sleepStrategy: () => 100 });
  if (got.status !== "SUCCESS") throw new Error(`${got.status} ${sent.hash}`);
  return { hash: sent.hash, ledger: got.ledger, value: got.returnValue ? scValToNative(got.returnValue) : null };
}

const steps = {
  // The network as the SDK sees it.
  async look() {
    const health = await server.getHealth();
    const network = await server.getNetwork();
    const fees = await server.getFeeStats();
    const version = await server.getVersionInfo();
    const latest = await server.getLatestLedger();
    const account = await server.getAccount(key(want.seed).publicKey());
    return {
      health: health.status,
      passphrase: network.passphrase,
      charged: fees.sorobanInclusionFee.p50,
      protocol: latest.protocolVersion,
      version: typeof version.version,
      account: account.accountId(),
    };
  },

  // XDR that the bridge made, signed and sent as it is.
  async sign() {
    const transaction = TransactionBuilder.fromXDR(want.xdr, want.passphrase);
    transaction.sign(key(want.seed));
    return submit(transaction);
  },

  // A payment: the SDK's own check for SEP-29 is Horizon's, RPC has none.
  async pay() {
    const account = await server.getAccount(key(want.seed).publicKey());
    const payment = Operation.payment({ destination: want.to, asset: sdk.Asset.native(), amount: "1" });
    const transaction = new TransactionBuilder(account, { fee: "1000", networkPassphrase: want.passphrase })
      .addOperation(payment).setTimeout(60).build();
    transaction.sign(key(want.seed));
    return submit(transaction);
  },

  // A call that the SDK makes itself: simulate, assemble, sign, send.
  async call() {
    const account = await server.getAccount(key(want.seed).publicKey());
    const operation = new Contract(want.contract).call(want.function, ...want.arguments.map((each) => xdr.ScVal.fromXDR(each, "base64")));
    const transaction = new TransactionBuilder(account, { fee: "1000", networkPassphrase: want.passphrase })
      .addOperation(operation).setTimeout(60).build();
    const ready = await server.prepareTransaction(transaction);
    ready.sign(key(want.seed));
    return submit(ready);
  },

  // A call that one signs as an authorisation (as Freighter's signAuthEntry does) and another sends and pays.
  async authorise() {
    const payer = await server.getAccount(key(want.payer).publicKey());
    const operation = new Contract(want.contract).call(want.function, ...want.arguments.map((each) => xdr.ScVal.fromXDR(each, "base64")));
    const build = (from, made) => new TransactionBuilder(from, { fee: "1000", networkPassphrase: want.passphrase })
      .addOperation(made).setTimeout(60).build();
    const simulated = await server.simulateTransaction(build(payer, operation));
    if (simulated.error) throw new Error(simulated.error);
    const until = (await server.getLatestLedger()).sequence + 100;
    const signed = [];
    for (const entry of simulated.result.auth) {
      signed.push(await sdk.authorizeEntry(entry, key(want.seed), until, want.passphrase));
    }
    const call = operation.body.invokeHostFunctionOp.hostFunction;
    const again = await server.getAccount(key(want.payer).publicKey());
    const ready = await server.prepareTransaction(build(again, Operation.invokeHostFunction({ func: call, auth: signed })));
    ready.sign(key(want.payer));
    return { ...(await submit(ready)), signed: signed.length };
  },

  // What the contract said, by topic.
  async events() {
    const filters = [{ type: "contract", contractIds: [want.contract], topics: [["*", bytes(want.lock).toXDR("base64"), "*", "*"]] }];
    const found = await server.getEvents({ startLedger: want.from, filters, limit: 100 });
    return found.events.map((each) => [scValToNative(each.topic[0]), each.txHash]);
  },
};

console.log(JSON.stringify(await steps[want.step](), (_, value) =>
  typeof value === "bigint" ? value.toString() : value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value));
