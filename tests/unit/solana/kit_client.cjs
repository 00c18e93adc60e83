// The official JavaScript client (@solana/kit) locks SOL and reads the lock back, knowing only the
// documented layout of the program. Arguments: the folder of node_modules, and the terms as JSON.
const { createRequire } = require("node:module");
const [, , nodeModules, given] = process.argv;
const kit = createRequire(nodeModules + "/../")("@solana/kit");
const terms = JSON.parse(given);

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const u64 = (value) => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64LE(BigInt(value));
  return Uint8Array.from(buffer);
};

async function main() {
  const rpc = kit.createSolanaRpc(terms.rpc);
  const rpcSubscriptions = kit.createSolanaRpcSubscriptions(terms.ws);
  const sender = await kit.createKeyPairSignerFromPrivateKeyBytes(bytes(terms.seed));
  const encode = kit.getAddressEncoder().encode;
  const [vault, bump] = await kit.getProgramDerivedAddress({
    programAddress: terms.program,
    seeds: ["htlc-sol", encode(sender.address), encode(terms.recipient), bytes(terms.hashlock),
            u64(terms.deadline), u64(terms.amount)],
  });
  const lock = {
    programAddress: terms.program,
    accounts: [
      { address: sender.address, role: kit.AccountRole.WRITABLE_SIGNER },
      { address: vault, role: kit.AccountRole.WRITABLE },
      { address: "11111111111111111111111111111111", role: kit.AccountRole.READONLY },
    ],
    data: Buffer.concat([u64(0), encode(terms.recipient), bytes(terms.hashlock), u64(terms.deadline),
                         u64(terms.amount), u64(bump)]),
  };
  const { value: latest } = await rpc.getLatestBlockhash({ commitment: "confirmed" }).send();
  const message = kit.pipe(
    kit.createTransactionMessage({ version: 0 }),
    (made) => kit.setTransactionMessageFeePayerSigner(sender, made),
    (made) => kit.setTransactionMessageLifetimeUsingBlockhash(latest, made),
    (made) => kit.appendTransactionMessageInstructions([lock], made),
  );
  const signed = await kit.signTransactionMessageWithSigners(message);
  const sendAndConfirm = kit.sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions });
  await sendAndConfirm(signed, { commitment: "confirmed" });

  const signature = kit.getSignatureFromTransaction(signed);
  const options = { commitment: "confirmed", encoding: "base64" };
  const account = await rpc.getAccountInfo(vault, options).send();
  const transaction = await rpc.getTransaction(signature, { ...options, maxSupportedTransactionVersion: 0 }).send();
  const history = await rpc.getSignaturesForAddress(vault, { commitment: "confirmed" }).send();
  console.log(JSON.stringify({
    signature, vault,
    owner: account.value.owner,
    data: account.value.data[0],
    logs: transaction.meta.logMessages,
    units: Number(transaction.meta.computeUnitsConsumed),
    history: history.map((entry) => entry.signature),
  }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
