// A wallet made of the official JavaScript client (@solana/kit): decodes a transaction that it is given in
// base64, shows what it is about, signs and sends it. Arguments: the folder of node_modules, and as JSON the
// RPC, the wallet's seed, the transaction and its last valid block height.
const { createRequire } = require("node:module");
const [, , nodeModules, given] = process.argv;
const kit = createRequire(nodeModules + "/../")("@solana/kit");
const wish = JSON.parse(given);

async function main() {
  const rpc = kit.createSolanaRpc(wish.rpc);
  const rpcSubscriptions = kit.createSolanaRpcSubscriptions(wish.ws);
  const owner = await kit.createKeyPairSignerFromPrivateKeyBytes(Uint8Array.from(Buffer.from(wish.seed, "hex")));
  const transaction = kit.getTransactionDecoder().decode(Buffer.from(wish.transaction, "base64"));
  const compiled = kit.getCompiledTransactionMessageDecoder().decode(transaction.messageBytes);
  const message = kit.decompileTransactionMessage(compiled, { lastValidBlockHeight: BigInt(wish.lastValid) });
  const signed = await kit.signTransaction([owner.keyPair], transaction);
  const sendAndConfirm = kit.sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions });
  await sendAndConfirm({ ...signed, lifetimeConstraint: message.lifetimeConstraint }, { commitment: "confirmed" });
  console.log(JSON.stringify({
    signature: kit.getSignatureFromTransaction(signed),
    version: message.version,
    payer: message.feePayer.address,
    signers: Object.keys(transaction.signatures),
    programs: message.instructions.map((one) => one.programAddress),
    blockhash: message.lifetimeConstraint.blockhash,
  }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
