import { FLOWS_KEPT_MAX } from './constants.ts';

/** Something that waits: its groups, from the widest to the narrowest, and its bytes. */
export type Waiting = { readonly path: readonly string[]; readonly bytes: number };

/** A group of what waits. Times are virtual: bytes served, over the weight of who got them. */
class Flow<T extends Waiting> {
  readonly children = new Map<string, Flow<T>>();
  /** Those of them in which something waits. */
  readonly busy = new Set<Flow<T>>();
  readonly items = new Set<T>();
  /** Of everything in it. */
  waiting = 0;
  /** When its next item is due, in the time of the group around it. */
  start = 0;
  /** When it has had what it was served, likewise. */
  finish = 0;
  /** The time inside: when the item served last was due. */
  time = 0;
}

/**
 * Who is next, by start-time fair queueing in groups within groups: the groups around an item take
 * turns by bytes, however many items each of them has, and so do the groups in them. Without I/O
 * or clock.
 */
export class FairOrder<T extends Waiting> {
  readonly #root = new Flow<T>();
  readonly #weightOf: (group: string) => number;
  #flows = 0;

  /** `weightOf` an outermost group: its part of a turn, above 0 and up to 1. */
  constructor(options: { weightOf?: (group: string) => number } = {}) {
    this.#weightOf = options.weightOf ?? (() => 1);
  }

  /** Groups that are remembered, inner ones too. */
  get flows(): number {
    return this.#flows;
  }

  /** Items that wait. */
  get size(): number {
    return this.#root.waiting;
  }

  /** Outermost groups in which something waits. */
  get groups(): number {
    return this.#root.busy.size;
  }

  push(item: T): void {
    let flow = this.#root;
    flow.waiting += 1;
    for (const key of item.path) {
      const inner = this.#child(flow, key);
      if (inner.waiting === 0) inner.start = Math.max(flow.time, inner.finish);
      inner.waiting += 1;
      flow.busy.add(inner);
      flow = inner;
    }
    flow.items.add(item);
  }

  /** Takes out an item that waits; nobody is charged for it. */
  remove(item: T): void {
    const flows = this.#flowsOf(item);
    if (flows.at(-1)?.items.delete(item) !== true) return;
    leave(flows);
  }

  /** Takes out who is next; its groups have had its bytes. */
  pop(): T | undefined {
    if (this.#root.waiting === 0) return undefined;
    let flow = this.#root;
    while (flow.items.size === 0) {
      const next = firstDue(flow);
      if (next === undefined) return undefined;
      flow = next;
    }
    const [item] = flow.items;
    if (item !== undefined) this.take(item);
    return item;
  }

  /** Takes out this one, before its turn; its groups have had its bytes. */
  take(item: T): void {
    const flows = this.#flowsOf(item);
    if (flows.at(-1)?.items.delete(item) !== true) return;
    leave(flows);
    for (const [depth, flow] of flows.entries()) {
      const inner = flows[depth + 1];
      if (inner === undefined) continue;
      const weight = depth === 0 ? this.#weightOf(item.path[0] ?? '') : 1;
      flow.time = Math.max(flow.time, inner.start);
      inner.finish = inner.start + item.bytes / weight;
      inner.start = inner.finish;
    }
  }

  /** From the root to the group the item is in; empty when there is none. */
  #flowsOf(item: T): Flow<T>[] {
    const flows = [this.#root];
    for (const key of item.path) {
      const inner = flows.at(-1)?.children.get(key);
      if (inner === undefined) return [];
      flows.push(inner);
    }
    return flows;
  }

  #child(flow: Flow<T>, key: string): Flow<T> {
    const known = flow.children.get(key);
    if (known !== undefined) return known;
    if (this.#flows >= FLOWS_KEPT_MAX) this.#forget();
    const made = new Flow<T>();
    flow.children.set(key, made);
    this.#flows += 1;
    return made;
  }

  /** Makes half of the room free, or as much as can be: what waits is not dropped. */
  #forget(): void {
    this.#flows = drop(this.#root, 'no lead');
    if (this.#flows > FLOWS_KEPT_MAX / 2) this.#flows = drop(this.#root, 'all');
  }
}

function firstDue<T extends Waiting>(flow: Flow<T>): Flow<T> | undefined {
  let first: Flow<T> | undefined;
  for (const inner of flow.busy) {
    if (first === undefined || inner.start < first.start) first = inner;
  }
  return first;
}

/** One item less waits in these, each around the next. */
function leave<T extends Waiting>(flows: readonly Flow<T>[]): void {
  for (const [depth, flow] of flows.entries()) {
    flow.waiting -= 1;
    if (flow.waiting === 0) flows[depth - 1]?.busy.delete(flow);
  }
}

/** Drops groups nothing waits in, all or those that have no lead; returns how many are left. */
function drop<T extends Waiting>(flow: Flow<T>, which: 'no lead' | 'all'): number {
  let left = 0;
  for (const [key, inner] of flow.children) {
    if (inner.waiting === 0 && (which === 'all' || inner.finish <= flow.time)) {
      flow.children.delete(key);
    } else left += 1 + drop(inner, which);
  }
  return left;
}
