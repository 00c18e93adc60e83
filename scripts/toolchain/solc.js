// A `solc` command line over the npm package `solc` (the same compiler, as WebAssembly), for tools that
// start a native compiler: py-solc-x, ape-solidity. Speaks `--version` and `--standard-json`.
'use strict';

const fs = require('fs');
const path = require('path');

// NODE_MODULES is set by the launcher that scripts/build_contracts.py writes.
const packageDir = path.join(process.env.RAINBOW_NODE_MODULES || 'node_modules', 'solc');
const args = process.argv.slice(2);

function values(name) {
  const found = [];
  args.forEach((arg, i) => {
    if (arg === name && i + 1 < args.length) found.push(args[i + 1]);
    else if (arg.startsWith(name + '=')) found.push(arg.slice(name.length + 1));
  });
  return found;
}

function writeOut(text) {
  const bytes = Buffer.from(text);
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += fs.writeSync(1, bytes, offset);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error; // a full pipe: try again
    }
  }
}

if (args.includes('--version')) {
  // The long version sits in the compiler itself; loading it takes a second, so it is remembered.
  const cache = path.join(packageDir, '.long-version');
  let version;
  try {
    version = fs.readFileSync(cache, 'utf8');
  } catch {
    version = require(packageDir).version();
    fs.writeFileSync(cache, version);
  }
  writeOut(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (args.includes('--standard-json')) {
  const roots = [...values('--base-path'), ...values('--include-path'), process.cwd()];
  const read = (file) => {
    for (const root of roots) {
      const candidate = path.resolve(root, file);
      if (fs.existsSync(candidate)) return { contents: fs.readFileSync(candidate, 'utf8') };
    }
    return { error: `File not found: ${file}` };
  };
  const input = JSON.parse(fs.readFileSync(0, 'utf8'));
  for (const source of Object.values(input.sources || {})) {
    if (source.content !== undefined || !source.urls) continue;
    const found = source.urls.map(read).find((result) => result.contents !== undefined);
    if (found) source.content = found.contents;
    delete source.urls;
  }
  writeOut(require(packageDir).compile(JSON.stringify(input), { import: read }) + '\n');
} else {
  process.stderr.write(`this solc speaks --version and --standard-json, not: ${args.join(' ')}\n`);
  process.exit(1);
}
