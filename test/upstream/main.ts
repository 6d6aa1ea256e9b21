// The stand-in of Docker Hub as a program of its own: it may live in another network than the test
// and be killed. Options as one JSON argument; one JSON line in, one JSON line out.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { parseDigest } from '../../proto/oci/digest.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Answer, Call, StartOptions } from './calls.ts';
import { DockerHub } from './docker-hub.ts';

async function startHub(): Promise<DockerHub> {
  const options: StartOptions = JSON.parse(process.argv[2] ?? '{}');
  const { certFile, keyFile, ...rest } = options;
  if (certFile === undefined || keyFile === undefined) return await DockerHub.start(rest);
  const [cert, key] = await Promise.all([certFile, keyFile].map((file) => readFile(file, 'utf8')));
  return await DockerHub.start({ ...rest, tls: { cert: cert ?? '', key: key ?? '' } });
}

function perform(hub: DockerHub, call: Call): unknown {
  switch (call.call) {
    case 'addImage':
      return hub.shelf.addImage(call.plan);
    case 'tag': {
      const { repository, tag, digest } = call;
      hub.shelf.tag(repository, tag, digest === undefined ? undefined : parseDigest(digest));
      break;
    }
    case 'own':
      hub.shelf.own(call.repository, call.account);
      break;
    case 'fault':
      hub.fault(...call.rules);
      break;
    case 'limit':
      hub.anonymousLimit = call.limit;
      break;
    case 'forget':
      hub.forget();
      break;
    case 'report':
      return hub.report();
  }
  return undefined;
}

const hub = await startHub();
const { url, tokenUrl, cdnUrl } = hub;
process.stdout.write(`ready ${JSON.stringify({ url, tokenUrl, cdnUrl })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...call }: Call & { id: number } = JSON.parse(line);
  let answer: Answer;
  try {
    answer = { id, result: perform(hub, call) };
  } catch (err) {
    answer = { id, error: messageOf(err) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
