// An agent that lies to its peers: the product's own composition, but its chunk server reads
// through a wrapper. Takes the same arguments as `flotilla agent`, and how it lies as JSON;
// without that it flips a bit in one chunk of ten.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startAgent } from '../../agent/agent.ts';
import { AgentOptions } from '../../agent/options.ts';
import { runProgram } from '../../proto/ops/program.ts';
import { misbehaving } from './misbehaving-peer.ts';
import type { Misbehaviour } from './misbehaving-peer.ts';

const { values } = parseArgs({
  options: { config: { type: 'string' }, misbehave: { type: 'string' } },
});
const source = values.config ?? '';
const how: Misbehaviour = JSON.parse(values.misbehave ?? '{"flipOneChunkIn":10}');

process.exitCode = await runProgram(
  {
    kind: 'agent',
    schema: AgentOptions,
    logLevel: (config) => config.log.level,
    start: (config, modules) =>
      startAgent(config, {
        ...modules,
        wrapContent: (content) => misbehaving(content, how),
      }),
  },
  { text: readFileSync(source, 'utf8'), source, env: {} },
);
