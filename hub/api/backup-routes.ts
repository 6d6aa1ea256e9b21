import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { Type } from 'typebox';
import { BackupHold, ROWS_TYPE } from '../../proto/hubapi/backups.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import { formatContentRange, parseRange } from '../../proto/oci/ranges.ts';
import { deadline } from '../../proto/std/abort.ts';
import { HOLD_MS } from '../backup/constants.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { BackupService, Hold } from '../backup/service.ts';
import { sendBody } from '../registry/body.ts';
import { BufferMemory } from '../registry/buffer-memory.ts';
import {
  BODIES_MEMORY_BYTES,
  BODY_MEMORY_BYTES,
  BODY_MEMORY_MIN_BYTES,
} from '../registry/constants.ts';
import type { Uplink } from '../uplink/uplink.ts';
import { ApiError } from './errors.ts';
import { timeText } from './page.ts';
import { RawAnswer, route, type ApiRoute, type RawExchange } from './route.ts';

export type BackupRouteModules = {
  backups: BackupService;
  uplink: Pick<Uplink, 'enter'>;
  callerOf: (request: IncomingMessage) => string;
};

/** The share of the link that all backups together have is that of one repository. */
const FLOW = '(backup)';
const Bytes = Type.String({ contentMediaType: 'application/octet-stream' });

/** What somebody asks for who makes a backup; any of several hubs may answer each. */
export function backupRoutes(modules: BackupRouteModules): ApiRoute[] {
  return [...holdRoutes(modules), ...contentRoutes(modules)];
}

function holdRoutes({ backups }: BackupRouteModules): ApiRoute[] {
  const [tag, allowed, answer] = ['backups', 'admin', BackupHold] as const;
  return [
    route('POST /backups', {
      tag,
      allowed,
      summary: 'begins a backup: bytes of blobs are kept until it ends or is silent for long',
      status: 201,
      answer,
      run: async () => holdAnswer(await backups.begin()),
    }),
    route('PUT /backups/:backup', {
      tag,
      allowed,
      summary: 'says that a backup goes on',
      answer,
      run: async ({ params: { backup = '' } }) => holdAnswer(await going(backups, backup)),
    }),
    route('DELETE /backups/:backup', {
      tag,
      allowed,
      summary: 'ends a backup: bytes of blobs are removed again',
      run: ({ params: { backup = '' } }) => backups.end(backup),
    }),
  ];
}

function contentRoutes(modules: BackupRouteModules): ApiRoute[] {
  const { backups } = modules;
  const [tag, allowed] = ['backups', 'admin'] as const;
  const memory = new BufferMemory({
    totalBytes: BODIES_MEMORY_BYTES,
    minBytes: BODY_MEMORY_MIN_BYTES,
    maxBytes: BODY_MEMORY_BYTES,
  });
  return [
    route('GET /backups/:backup/catalog', {
      tag,
      allowed,
      summary: 'all rows of the catalog as of now, as lines of JSON',
      answer: Type.String({ contentMediaType: ROWS_TYPE }),
      run: async ({ params: { backup = '' } }) => {
        await going(backups, backup);
        const lines = await backups.rows();
        return new RawAnswer((to) => sendLines(lines, to));
      },
    }),
    route('GET /backups/:backup/blobs/:digest', {
      tag,
      allowed,
      summary: 'the bytes of a blob, or a range of them',
      answer: Bytes,
      run: async ({ params: { digest: text = '' } }) => {
        const digest = parseDigest(text);
        const blob = await backups.blob(digest);
        if (blob === undefined) throw new ApiError('NOT_FOUND', `no blob ${digest}`);
        return new RawAnswer((to) => sendBlob({ blob, digest }, to, { ...modules, memory }));
      },
    }),
  ];
}

async function going(backups: BackupService, id: string): Promise<Hold> {
  const hold = await backups.renew(id);
  if (hold !== undefined) return hold;
  throw new ApiError('NOT_FOUND', 'this backup has ended; begin another one');
}

function holdAnswer({ id, untilMs }: Hold): BackupHold {
  return { id, until: timeText(untilMs) };
}

async function sendLines(
  lines: AsyncGenerator<string>,
  { response, signal }: RawExchange,
): Promise<void> {
  response.writeHead(200, { 'content-type': ROWS_TYPE, 'cache-control': 'no-store' });
  for await (const text of lines) {
    signal.throwIfAborted();
    if (!response.write(text)) await drained(response, signal);
    // A database in this process answers without a pause in which others had their turn.
    await setImmediate();
  }
  response.end();
}

/** Who takes nothing for as long as a backup lasts in silence does not keep a transaction open. */
async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  using limit = deadline(HOLD_MS, signal);
  await once(response, 'drain', { signal: limit.signal });
}

async function sendBlob(
  { blob: opened, digest }: { blob: OpenBlob; digest: Digest },
  to: RawExchange,
  modules: Pick<BackupRouteModules, 'uplink' | 'callerOf'> & { memory: BufferMemory },
): Promise<void> {
  const { uplink, callerOf, memory } = modules;
  await using blob = opened;
  const { request, response } = to;
  const { size } = blob;
  const range = parseRange(request.headers.range, size);
  const common = { 'accept-ranges': 'bytes', 'cache-control': 'no-store' };
  if (range.kind === 'unsatisfiable') {
    response.writeHead(416, { ...common, 'content-range': `bytes */${size}` }).end();
    return;
  }
  const { start, end } = range.kind === 'part' ? range : { start: 0, end: size };
  if ((await blob.expect?.({ start, end })) === false) {
    response.writeHead(404, common).end();
    return;
  }
  response.writeHead(range.kind === 'part' ? 206 : 200, {
    ...common,
    'content-type': 'application/octet-stream',
    'content-length': end - start,
    ...(range.kind === 'part' ? { 'content-range': formatContentRange(start, end, size) } : {}),
  });
  using body = uplink.enter({ repository: FLOW, digest, caller: callerOf(request) });
  await sendBody(blob, { start, end }, to, { uplink: body, memory, onBytes: () => {} });
}
