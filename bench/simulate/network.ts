import type { Calendar } from './calendar.ts';
import { HAPPENS } from './happenings.ts';
import { MaxMin } from './max-min.ts';
import type { Paths } from './max-min.ts';

/** Requests that wait on one connection at most, the one being served included. */
const QUEUE = 16;

export type NetworkOptions = {
  connections: number;
  /** Bytes per ms of each link: an index into it is a resource. */
  capacity: Float64Array;
  /** Time between a chunk's arrival and its being verified and stored. */
  storeMs: number;
  /** Bytes of each chunk. */
  chunkBytes: (index: number) => number;
};

export type Route = { up: number; down: number; trunk: number; latencyMs: number };

/**
 * Connections that each serve one request after the other, as fluid flows. Rates are max-min fair
 * at the start of each epoch; a flow that starts within an epoch gets what is spare until the next.
 */
export class Network {
  /** Bytes that passed each link. */
  readonly carried: Float64Array;
  readonly #calendar: Calendar;
  readonly #options: NetworkOptions;
  readonly #paths: Paths;
  readonly #filling: MaxMin;
  readonly #latency: Float64Array;
  readonly #rates: Float64Array;
  readonly #left: Float64Array;
  readonly #since: Float64Array;
  readonly #finishAt: Float64Array;
  /** Counts what was opened and closed on the connection. */
  readonly #generation: Int32Array;
  /** Counts the heads that were served, so that an old finish is told from the next one. */
  readonly #flow: Int32Array;
  readonly #length: Uint8Array;
  readonly #head: Uint8Array;
  readonly #tickets: Int32Array;
  readonly #indices: Int32Array;
  readonly #readyAt: Float64Array;
  readonly #active: Int32Array;
  /** Place in the list of active connections, plus one; 0 when it does not send. */
  readonly #place: Int32Array;
  #activeCount = 0;
  #epochEndMs = 0;

  constructor(options: NetworkOptions, calendar: Calendar) {
    const { connections, capacity } = options;
    this.#options = options;
    this.#calendar = calendar;
    this.carried = new Float64Array(capacity.length);
    const ints = (): Int32Array => new Int32Array(connections);
    const floats = (): Float64Array => new Float64Array(connections);
    this.#paths = { up: ints(), down: ints(), trunk: ints() };
    this.#filling = new MaxMin(capacity, this.#paths);
    this.#latency = floats();
    this.#rates = floats();
    this.#left = floats();
    this.#since = floats();
    this.#finishAt = floats();
    this.#generation = ints();
    this.#flow = ints();
    this.#length = new Uint8Array(connections);
    this.#head = new Uint8Array(connections);
    this.#tickets = new Int32Array(connections * QUEUE);
    this.#indices = new Int32Array(connections * QUEUE);
    this.#readyAt = new Float64Array(connections * QUEUE);
    this.#active = ints();
    this.#place = ints();
  }

  /** Connections that send now. */
  get activeCount(): number {
    return this.#activeCount;
  }

  generation(connection: number): number {
    return this.#generation[connection] ?? 0;
  }

  latencyMs(connection: number): number {
    return this.#latency[connection] ?? 0;
  }

  open(connection: number, route: Route): void {
    this.#paths.up[connection] = route.up;
    this.#paths.down[connection] = route.down;
    this.#paths.trunk[connection] = route.trunk;
    this.#latency[connection] = route.latencyMs;
    this.#generation[connection]! += 1;
  }

  /** Ends it with all that waits on it. What is on the way is lost. */
  close(connection: number, nowMs: number): void {
    this.mute(connection, nowMs);
    this.#generation[connection]! += 1;
  }

  /** The sender goes silent: nothing leaves it any more, and nobody is told. */
  mute(connection: number, nowMs: number): void {
    this.#stop(connection, nowMs);
    this.#length[connection] = 0;
    this.#flow[connection]! += 1;
  }

  /** Sends a request; it can be served `delayMs` after it has travelled. */
  ask(connection: number, ticket: number, index: number, nowMs: number, delayMs: number): void {
    const length = this.#length[connection] ?? 0;
    if (length === QUEUE) throw new RangeError('too many requests on one connection');
    const readyMs = nowMs + (this.#latency[connection] ?? 0) + delayMs;
    const at = this.#slot(connection, length);
    this.#tickets[at] = ticket;
    this.#indices[at] = index;
    this.#readyAt[at] = readyMs;
    this.#length[connection] = length + 1;
    if (length === 0)
      this.#calendar.put(readyMs, HAPPENS.start, connection, this.#flowOf(connection));
  }

  /** Takes a request back; bytes of it that have left are spent. False: it has left as a whole. */
  cancel(connection: number, ticket: number, nowMs: number): boolean {
    const length = this.#length[connection] ?? 0;
    for (let place = 0; place < length; place += 1) {
      if (this.#tickets[this.#slot(connection, place)] !== ticket) continue;
      if (place === 0) {
        this.#stop(connection, nowMs);
        this.#drop(connection);
        this.#wake(connection, nowMs);
      } else this.#remove(connection, place, length);
      return true;
    }
    return false;
  }

  /** Bytes that are on the wire, or lost, count as carried from now on. New rates. */
  beginEpoch(nowMs: number, endMs: number): void {
    this.#epochEndMs = endMs;
    for (let at = 0; at < this.#activeCount; at += 1) {
      this.#settle(this.#active[at] ?? 0, nowMs);
    }
    this.#filling.fill(this.#active, this.#activeCount, this.#rates);
    for (let at = 0; at < this.#activeCount; at += 1) this.#foresee(this.#active[at] ?? 0);
  }

  /** A request is at an idle sender. */
  started(connection: number, flow: number, nowMs: number): void {
    if (this.#flowOf(connection) !== flow || this.#place[connection] !== 0) return;
    this.#begin(connection, nowMs);
  }

  /** A chunk has left: it arrives a latency later, and the next one follows at once. */
  finished(connection: number, flow: number): void {
    if (this.#flowOf(connection) !== flow || this.#place[connection] === 0) return;
    const nowMs = this.#finishAt[connection] ?? 0;
    this.#settle(connection, nowMs);
    this.#carry(connection, this.#left[connection] ?? 0);
    const at = this.#slot(connection, 0);
    const index = this.#indices[at] ?? 0;
    const thereMs = nowMs + (this.#latency[connection] ?? 0) + this.#options.storeMs;
    const generation = this.generation(connection);
    const ticket = this.#tickets[at] ?? 0;
    this.#calendar.put(thereMs, HAPPENS.deliver, connection, generation, ticket, index);
    this.#drop(connection);
    const next = this.#slot(connection, 0);
    if (this.#length[connection]! > 0 && this.#readyAt[next]! <= nowMs) {
      this.#left[connection] = this.#options.chunkBytes(this.#indices[next] ?? 0);
      this.#since[connection] = nowMs;
      this.#foresee(connection);
      return;
    }
    this.#leave(connection);
    this.#wake(connection, nowMs);
  }

  #flowOf(connection: number): number {
    return this.#flow[connection] ?? 0;
  }

  #slot(connection: number, place: number): number {
    return connection * QUEUE + (((this.#head[connection] ?? 0) + place) % QUEUE);
  }

  /** Takes the head off the queue; an event about it means nothing from now on. */
  #drop(connection: number): void {
    this.#head[connection] = ((this.#head[connection] ?? 0) + 1) % QUEUE;
    this.#length[connection]! -= 1;
    this.#flow[connection]! += 1;
  }

  #remove(connection: number, place: number, length: number): void {
    for (let at = place; at + 1 < length; at += 1) {
      const to = this.#slot(connection, at);
      const from = this.#slot(connection, at + 1);
      this.#tickets[to] = this.#tickets[from] ?? 0;
      this.#indices[to] = this.#indices[from] ?? 0;
      this.#readyAt[to] = this.#readyAt[from] ?? 0;
    }
    this.#length[connection] = length - 1;
  }

  /** Serves the head as soon as it is there. */
  #wake(connection: number, nowMs: number): void {
    if (this.#length[connection] === 0) return;
    const readyMs = Math.max(nowMs, this.#readyAt[this.#slot(connection, 0)] ?? 0);
    this.#calendar.put(readyMs, HAPPENS.start, connection, this.#flowOf(connection));
  }

  #begin(connection: number, nowMs: number): void {
    if (this.#length[connection] === 0) return;
    const index = this.#indices[this.#slot(connection, 0)] ?? 0;
    this.#left[connection] = this.#options.chunkBytes(index);
    this.#since[connection] = nowMs;
    this.#active[this.#activeCount] = connection;
    this.#activeCount += 1;
    this.#place[connection] = this.#activeCount;
    const { up, down, trunk } = this.#paths;
    const spare = this.#filling.spare;
    const third = trunk[connection] ?? -1;
    let rate = Math.min(spare[up[connection] ?? 0] ?? 0, spare[down[connection] ?? 0] ?? 0);
    if (third >= 0) rate = Math.min(rate, spare[third] ?? 0);
    this.#rates[connection] = Math.max(0, rate);
    this.#give(connection, -Math.max(0, rate));
    this.#foresee(connection);
  }

  #stop(connection: number, nowMs: number): void {
    if (this.#place[connection] === 0) return;
    this.#settle(connection, nowMs);
    this.#leave(connection);
  }

  /** Out of the active ones; others may have its rate. */
  #leave(connection: number): void {
    this.#give(connection, this.#rates[connection] ?? 0);
    this.#rates[connection] = 0;
    const place = (this.#place[connection] ?? 0) - 1;
    this.#activeCount -= 1;
    const last = this.#active[this.#activeCount] ?? 0;
    this.#active[place] = last;
    this.#place[last] = place + 1;
    this.#place[connection] = 0;
  }

  #give(connection: number, rate: number): void {
    const { up, down, trunk } = this.#paths;
    const spare = this.#filling.spare;
    spare[up[connection] ?? 0]! += rate;
    spare[down[connection] ?? 0]! += rate;
    const third = trunk[connection] ?? -1;
    if (third >= 0) spare[third]! += rate;
  }

  /** Counts what has flowed since the last time. */
  #settle(connection: number, nowMs: number): void {
    const since = this.#since[connection] ?? 0;
    const left = this.#left[connection] ?? 0;
    const bytes = Math.min(left, (this.#rates[connection] ?? 0) * Math.max(0, nowMs - since));
    this.#since[connection] = Math.max(since, nowMs);
    this.#left[connection] = left - bytes;
    this.#carry(connection, bytes);
  }

  #carry(connection: number, bytes: number): void {
    const { up, down, trunk } = this.#paths;
    this.carried[up[connection] ?? 0]! += bytes;
    this.carried[down[connection] ?? 0]! += bytes;
    const third = trunk[connection] ?? -1;
    if (third >= 0) this.carried[third]! += bytes;
  }

  /** Puts the end of the head in the calendar when it lies within the epoch. */
  #foresee(connection: number): void {
    const rate = this.#rates[connection] ?? 0;
    if (rate <= 0) return;
    const endMs = (this.#since[connection] ?? 0) + (this.#left[connection] ?? 0) / rate;
    if (endMs >= this.#epochEndMs) return;
    this.#finishAt[connection] = endMs;
    this.#calendar.put(endMs, HAPPENS.finish, connection, this.#flowOf(connection));
  }
}
