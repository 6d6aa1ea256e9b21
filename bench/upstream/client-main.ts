// A client in the network of one machine that pulls when told. One JSON line in, one JSON line out.
import { createInterface } from 'node:readline';
import { messageOf } from '../../proto/std/errors.ts';
import type { ClientWord } from './client.ts';
import { pullOnce, type PullTask } from './pull.ts';

function tell(word: ClientWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

tell({ kind: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const task: PullTask = JSON.parse(line);
    tell({ kind: 'done', pull: await pullOnce(task) });
  } catch (err) {
    tell({ kind: 'failed', reason: messageOf(err) });
  }
}
process.exit(0);
