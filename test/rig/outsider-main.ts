// Runs inside the network of one test machine and does to an agent or to the hub what nobody may.
// Reads what to do as JSON from its input and prints what came of it as JSON.
import { text } from 'node:stream/consumers';
import { Value } from 'typebox/value';
import { attack } from './outsider-attacks.ts';
import { OutsiderTask } from './outsider-task.ts';

const TIMEOUT_MS = 50_000;

// Also keeps the process running while nothing but timers of libp2p is left, which do not.
setTimeout(() => {
  process.stderr.write(`not done within ${TIMEOUT_MS} ms\n`);
  process.exit(1);
}, TIMEOUT_MS);

const task = Value.Parse(OutsiderTask, JSON.parse(await text(process.stdin)));
process.stdout.write(`${JSON.stringify(await attack(task))}\n`);
process.exit(0);
