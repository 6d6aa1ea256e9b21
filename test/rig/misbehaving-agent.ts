// An agent that lies to its peers: the product's own composition, but its chunk server reads
// through a wrapper that flips a bit in one chunk of ten. Takes the same arguments as
// `flotilla agent`.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startAgent } from '../../agent/agent.ts';
import { AgentOptions } from '../../agent/options.ts';
import { runProgram } from '../../proto/ops/program.ts';
import { misbehaving } from './misbehaving-peer.ts';

const FLIP_ONE_CHUNK_IN = 10;

const { values } = parseArgs({ options: { config: { type: 'string' } } });
const source = values.config ?? '';

process.exitCode = await runProgram(
  {
    kind: 'agent',
    schema: AgentOptions,
    logLevel: (config) => config.log.level,
    start: (config, modules) =>
      startAgent(config, {
        ...modules,
        wrapContent: (content) => misbehaving(content, { flipOneChunkIn: FLIP_ONE_CHUNK_IN }),
      }),
  },
  { text: readFileSync(source, 'utf8'), source, env: {} },
);
