// A stand-in of Docker Hub: the registry, its token service and its CDN, each an origin of its own.
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Cdn } from './cdn.ts';
import { Faults, type FaultRule } from './faults.ts';
import { PullCounts, type PullLimit } from './pull-counts.ts';
import { RegistryEdge } from './registry-edge.ts';
import { reportOf, type Entry, type Report } from './request-log.ts';
import { sendContent, sendStatus } from './send.ts';
import { blobOf } from './content.ts';
import { Shelf } from './shelf.ts';
import { TokenService, type Account } from './token-service.ts';

const SERVICE = 'registry.docker.io';
/** What an address without an account may pull, as published. */
const ANONYMOUS_LIMIT: PullLimit = { pulls: 100, windowSeconds: 21_600 };

export type Place = { host: string; port: number };

export type DockerHubOptions = {
  /** Milliseconds; the machine's clock if left out. */
  now?: () => number;
  /** PEM; without it all three speak plain http. */
  tls?: { cert: string; key: string } | undefined;
  /** Where to listen. Default: any free ports of loopback, token service and CDN as `localhost`. */
  places?: { registry: Place; token: Place; cdn: Place };
  /** By user name. */
  accounts?: Record<string, Account>;
  /** undefined: no limit. */
  anonymousLimit?: PullLimit | undefined;
};

type Origin = 'registry' | 'token' | 'cdn';
type Answer = (request: IncomingMessage, response: ServerResponse, entry: Entry) => Promise<void>;

const FREE_PLACES: Record<Origin, Place> = {
  registry: { host: '127.0.0.1', port: 0 },
  token: { host: 'localhost', port: 0 },
  cdn: { host: 'localhost', port: 0 },
};

export class DockerHub implements AsyncDisposable {
  readonly shelf = new Shelf();
  /** Every request, in the order of arrival. */
  readonly entries: Entry[] = [];
  /** Where challenges send clients; the token service unless a test says otherwise. */
  realm = '';
  anonymousLimit: PullLimit | undefined;
  readonly #faults = new Faults();
  readonly #cdn: Cdn;
  readonly #tokens: TokenService;
  readonly #edge: RegistryEdge;
  readonly #tls: DockerHubOptions['tls'];
  readonly #servers: (Server | TlsServer)[] = [];
  readonly #urls: Record<Origin, string> = { registry: '', token: '', cdn: '' };

  private constructor(options: DockerHubOptions) {
    const { now = Date.now, accounts = {}, tls } = options;
    const { shelf } = this;
    const faults = this.#faults;
    const known = new Map(Object.entries(accounts));
    const mayPull = (account: string | undefined, name: string): boolean =>
      shelf.mayPull(account, name);
    this.#tls = tls;
    this.anonymousLimit = 'anonymousLimit' in options ? options.anonymousLimit : ANONYMOUS_LIMIT;
    this.#tokens = new TokenService({ now, accounts: known }, { mayPull });
    this.#cdn = new Cdn({ now }, { blobs: shelf.blobs, faults });
    const edge = {
      realm: () => this.realm,
      service: SERVICE,
      cdnUrl: () => this.#urls.cdn,
      accounts: known,
      anonymousLimit: () => this.anonymousLimit,
    };
    this.#edge = new RegistryEdge(edge, {
      shelf,
      faults,
      counts: new PullCounts({ now }),
      tokens: this.#tokens,
      signedPath: (digest) => this.#cdn.signedPath(digest),
    });
  }

  static async start(options: DockerHubOptions = {}): Promise<DockerHub> {
    const hub = new DockerHub(options);
    const places = options.places ?? FREE_PLACES;
    await hub.#listen('registry', places.registry, (...asked) => hub.#edge.answer(...asked));
    await hub.#listen('cdn', places.cdn, (...asked) => hub.#cdn.answer(...asked));
    await hub.#listen('token', places.token, (...asked) => hub.#token(...asked));
    hub.realm = `${hub.#urls.token}/token`;
    return hub;
  }

  /** Where `/v2/` is. */
  get url(): string {
    return this.#urls.registry;
  }

  get tokenUrl(): string {
    return this.#urls.token;
  }

  get cdnUrl(): string {
    return this.#urls.cdn;
  }

  /** What goes wrong from now on, instead of what did before. */
  fault(...rules: FaultRule[]): void {
    this.#faults.set(rules);
  }

  report(): Report {
    return reportOf(this.entries, this.#faults.applied);
  }

  /** Forgets the requests so far, but not whose pulls were counted. */
  forget(): void {
    this.entries.length = 0;
    this.#faults.applied = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  async #token(request: IncomingMessage, response: ServerResponse, entry: Entry): Promise<void> {
    entry.kind = 'token';
    const fault = this.#faults.take('registry', { kind: 'token', names: [], method: entry.method });
    if (fault === undefined) entry.status = await this.#tokens.answer(request, response);
    else {
      const content = { blob: blobOf(Buffer.from('{}')), headers: {}, part: undefined };
      await sendContent(response, entry, content, fault);
    }
  }

  async #listen(origin: Origin, { host, port }: Place, answer: Answer): Promise<void> {
    const listener: RequestListener = (request, response) => {
      const entry: Entry = {
        host: origin,
        kind: 'other',
        method: request.method ?? '',
        path: request.url ?? '/',
        authorized: request.headers.authorization !== undefined,
        status: 0,
        bytes: 0,
        ...(request.headers.range !== undefined && { range: request.headers.range }),
      };
      this.entries.push(entry);
      answer(request, response, entry).catch(() => {
        if (response.headersSent) response.destroy();
        else sendStatus(response, entry, 500);
      });
    };
    const { scheme, server } = this.#serverOf(listener);
    this.#servers.push(server);
    server.listen(port, host === 'localhost' ? '127.0.0.1' : host);
    await once(server, 'listening');
    const urlHost = host.includes(':') ? `[${host}]` : host;
    this.#urls[origin] = `${scheme}://${urlHost}:${portOf(server.address())}`;
  }

  #serverOf(listener: RequestListener): { scheme: string; server: Server | TlsServer } {
    if (this.#tls === undefined) return { scheme: 'http', server: createServer(listener) };
    return { scheme: 'https', server: createTlsServer(this.#tls, listener) };
  }
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0;
}
