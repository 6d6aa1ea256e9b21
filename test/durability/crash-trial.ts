// One hub, killed again and again under many clients, on any pair of drivers.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent } from 'undici';
import { start, type Running } from '../rig/processes.ts';
import { hubConfig, servedAt } from './hub-process.ts';
import { Ledger } from './ledger.ts';
import { assertProductFindsNothing, assertWhole, type BucketKeys } from './offline-check.ts';
import { Client, randomOf, Refusal, Unavailable } from './pushes.ts';
import { verify, type Verified } from './verify.ts';

const MAIN = path.join(import.meta.dirname, 'hub-main.ts');
const CLIENTS = 5;
const STEPS_MAX = 300;
/** Of the rounds, those in which the hub is killed while it starts. */
const STARTING_SHARE = 0.1;
const STARTING_MS = 1_200;
/** Bytes of all blobs are hashed in one round of so many. */
const HASH_EVERY = 5;
const PAUSE_MS = 100;
/** Uploads that clients leave behind before they think of it. */
const LEFT_MAX = 64;

export type TrialPlace = {
  /** Where catalog and blobs are: sections of the configuration. */
  sections: object;
  /** False when this hub leaves blobs alone that no manifest names. */
  collects: boolean;
  bucket?: BucketKeys;
};

type Hub = { running: Running; url: string };

export class CrashTrial implements AsyncDisposable {
  readonly ledger = new Ledger();
  readonly verified: Verified = { images: 0, blobs: 0, bytes: 0 };
  rounds = 0;
  readonly #place: TrialPlace;
  readonly #folder: string;
  readonly #seed: number;
  #running: Running | undefined;

  private constructor(place: TrialPlace, folder: string, seed: number) {
    this.#place = place;
    this.#folder = folder;
    this.#seed = seed;
  }

  static async open(place: TrialPlace, seed: number): Promise<CrashTrial> {
    return new CrashTrial(place, await mkdtemp(path.join(tmpdir(), 'flotilla-crash-')), seed);
  }

  /** One life of the hub: it serves what it promised, takes more, and is killed. */
  async round(): Promise<void> {
    const random = randomOf(this.#seed + this.rounds);
    if (random() < STARTING_SHARE) await this.#killStarting(random() * STARTING_MS);
    const hub = await this.start();
    await this.#verify(hub.url);
    const killAt = 1 + Math.floor(random() * STEPS_MAX);
    let steps = 0;
    const step = (): void => {
      steps += 1;
      if (steps === killAt) hub.running.kill('SIGKILL');
    };
    const { uploads } = this.ledger;
    const left = uploads.size > LEFT_MAX ? [...uploads] : [];
    const ends = await this.clients(hub.url, step, async (client) => {
      // They are all of one account, which may have so many and no more.
      await client.giveUp(left);
      for (;;) await client.act();
    });
    for (const end of ends) {
      assert.ok(!(end instanceof Unavailable) && !(end instanceof Refusal), String(end));
    }
    assert.ok(steps >= killAt, `all clients ended by themselves: ${String(ends)}`);
    assert.equal((await hub.running.exited).signal, 'SIGKILL', hub.running.output().slice(-4000));
    await this.check(this.rounds % HASH_EVERY === 0);
    this.rounds += 1;
  }

  /** The last life: all that was promised is there, and the hub ends as it was told to. */
  async end(): Promise<void> {
    const { running, url } = await this.start();
    await this.#verify(url);
    assert.equal((await running.stop()).code, 0);
    await assertProductFindsNothing({ ...hubConfig(this.#dataDir), ...this.#place.sections });
  }

  async start(): Promise<Hub> {
    const running = await this.#spawn();
    const { url } = await servedAt(running);
    return { running, url };
  }

  /** Why each of some clients ended, who do `task` side by side. */
  async clients(
    url: string,
    step: () => void,
    task: (client: Client) => Promise<void>,
  ): Promise<unknown[]> {
    const { ledger } = this;
    const dispatcher = new Agent();
    const one = async (number: number): Promise<unknown> => {
      const random = randomOf(this.#seed + this.rounds * 31 + number * 7919);
      const client = new Client({ url, number, random, ledger, dispatcher, step });
      return task(client).then(
        () => undefined,
        (err: unknown) => err,
      );
    };
    const ends = await Promise.all(Array.from({ length: CLIENTS }, (_, i) => one(i + 1)));
    await dispatcher.destroy();
    return ends;
  }

  /**
   * Clients go on while `outage` takes something away that the hub needs, until what it returns
   * brings it back. Each is refused meanwhile and served afterwards, and the hub never ends.
   */
  async outage(outage: () => Promise<() => Promise<void>>): Promise<void> {
    const hub = await this.start();
    const refused = new Set<Client>();
    const failed: unknown[] = [];
    let back = false;
    const untilServed = async (client: Client): Promise<void> => {
      for (;;) {
        try {
          await client.act();
          if (back && refused.has(client)) return;
        } catch (err) {
          if (err instanceof Unavailable) refused.add(client);
          else {
            failed.push(err);
            throw err;
          }
          await delay(PAUSE_MS);
        }
      }
    };
    const all = this.clients(hub.url, () => undefined, untilServed);
    const until = async (done: () => boolean): Promise<void> => {
      while (!done() && failed.length === 0) await delay(PAUSE_MS);
    };
    await until(() => this.ledger.acknowledged.manifests >= CLIENTS);
    const bring = await outage();
    await until(() => refused.size === CLIENTS);
    await bring();
    back = true;
    assert.deepEqual(failed, []);
    await all;
    assert.equal(hub.running.exit, undefined, 'the hub ran all the time');
    await this.#verify(hub.url);
    assert.equal((await hub.running.stop()).code, 0);
    await this.check(true);
  }

  /** Nothing is wrong with what is on the disks now. The hub does not run. */
  async check(hash: boolean): Promise<void> {
    const { sections, bucket } = this.#place;
    await assertWhole({ ...hubConfig(this.#dataDir), ...sections }, { hash }, bucket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running?.kill('SIGKILL');
    await this.#running?.exited;
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #verify(url: string): Promise<void> {
    const found = await verify(url, this.ledger, this.#place);
    for (const key of ['images', 'blobs', 'bytes'] as const) this.verified[key] += found[key];
  }

  async #killStarting(afterMs: number): Promise<void> {
    const running = await this.#spawn();
    await delay(afterMs);
    running.kill('SIGKILL');
    await running.exited;
  }

  async #spawn(): Promise<Running> {
    const file = path.join(this.#folder, 'hub.yaml');
    const { sections } = this.#place;
    await writeFile(file, JSON.stringify({ ...hubConfig(this.#dataDir), ...sections }));
    // What the last life compiled need not be compiled again.
    const env = { NODE_COMPILE_CACHE: path.join(this.#folder, 'compiled') };
    this.#running = start([process.execPath, MAIN, file], { name: 'hub', env });
    return this.#running;
  }

  get #dataDir(): string {
    return path.join(this.#folder, 'data');
  }
}
