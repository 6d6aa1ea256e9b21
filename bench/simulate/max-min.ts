/** Which resources each flow passes: up to three, -1 for none. */
export type Paths = { up: Int32Array; down: Int32Array; trunk: Int32Array };

/**
 * Exact max-min fair rates: again and again the resource with the least for each of its flows is
 * given out, and its flows are left out from then on.
 */
export class MaxMin {
  readonly #capacity: Float64Array;
  readonly #paths: Paths;
  /** What is left of each resource after the last filling. */
  readonly spare: Float64Array;
  readonly #open: Int32Array;
  readonly #offset: Int32Array;
  readonly #heap: Int32Array;
  readonly #key: Float64Array;
  #items = new Int32Array(0);
  #heapSize = 0;

  /** `capacity` of each resource in bytes per ms. */
  constructor(capacity: Float64Array, paths: Paths) {
    this.#capacity = capacity;
    this.#paths = paths;
    this.spare = capacity.slice();
    this.#open = new Int32Array(capacity.length);
    this.#offset = new Int32Array(capacity.length + 1);
    this.#heap = new Int32Array(capacity.length);
    this.#key = new Float64Array(capacity.length);
  }

  /** Writes the rate of each of the first `count` flows of the list to `rates`. */
  fill(flows: Int32Array, count: number, rates: Float64Array): void {
    this.spare.set(this.#capacity);
    this.#index(flows, count, rates);
    this.#heapify();
    while (this.#heapSize > 0) {
      const resource = this.#heap[0] ?? 0;
      const open = this.#open[resource] ?? 0;
      const share = open === 0 ? 0 : Math.max(0, this.spare[resource] ?? 0) / open;
      if (open > 0 && share > (this.#key[resource] ?? 0) * (1 + 1e-12)) {
        // Others took less than their share of it: it comes later.
        this.#key[resource] = share;
        this.#sink(0);
        continue;
      }
      this.#heapSize -= 1;
      this.#heap[0] = this.#heap[this.#heapSize] ?? 0;
      this.#sink(0);
      if (open > 0) this.#give(resource, share, rates);
    }
  }

  #give(resource: number, share: number, rates: Float64Array): void {
    const { up, down, trunk } = this.#paths;
    const end = this.#offset[resource + 1] ?? 0;
    for (let at = this.#offset[resource] ?? 0; at < end; at += 1) {
      const flow = this.#items[at] ?? 0;
      if ((rates[flow] ?? 0) >= 0) continue;
      rates[flow] = share;
      this.#charge(up[flow] ?? -1, share);
      this.#charge(down[flow] ?? -1, share);
      this.#charge(trunk[flow] ?? -1, share);
    }
  }

  #charge(resource: number, share: number): void {
    if (resource < 0) return;
    this.spare[resource] = (this.spare[resource] ?? 0) - share;
    this.#open[resource] = (this.#open[resource] ?? 0) - 1;
  }

  /** Lists the flows of each resource, and the resources that have any. */
  #index(flows: Int32Array, count: number, rates: Float64Array): void {
    const { up, down, trunk } = this.#paths;
    const open = this.#open.fill(0);
    for (let at = 0; at < count; at += 1) {
      const flow = flows[at] ?? 0;
      rates[flow] = -1;
      open[up[flow] ?? 0]! += 1;
      open[down[flow] ?? 0]! += 1;
      const third = trunk[flow] ?? -1;
      if (third >= 0) open[third]! += 1;
    }
    let sum = 0;
    this.#heapSize = 0;
    for (let resource = 0; resource < open.length; resource += 1) {
      const flowsOfIt = open[resource] ?? 0;
      sum += flowsOfIt;
      this.#offset[resource] = sum;
      if (flowsOfIt === 0) continue;
      this.#key[resource] = (this.#capacity[resource] ?? 0) / flowsOfIt;
      this.#heap[this.#heapSize] = resource;
      this.#heapSize += 1;
    }
    this.#offset[open.length] = sum;
    if (this.#items.length < sum) this.#items = new Int32Array(sum * 2);
    for (let at = 0; at < count; at += 1) {
      const flow = flows[at] ?? 0;
      this.#list(up[flow] ?? 0, flow);
      this.#list(down[flow] ?? 0, flow);
      const third = trunk[flow] ?? -1;
      if (third >= 0) this.#list(third, flow);
    }
  }

  #list(resource: number, flow: number): void {
    const place = (this.#offset[resource] ?? 0) - 1;
    this.#offset[resource] = place;
    this.#items[place] = flow;
  }

  #heapify(): void {
    for (let at = (this.#heapSize >> 1) - 1; at >= 0; at -= 1) this.#sink(at);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const key = this.#key;
    const moved = heap[from] ?? 0;
    const movedKey = key[moved] ?? 0;
    let at = from;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= this.#heapSize) break;
      const right = child + 1;
      if (right < this.#heapSize && key[heap[right] ?? 0]! < key[heap[child] ?? 0]!) child = right;
      const item = heap[child] ?? 0;
      if ((key[item] ?? 0) >= movedKey) break;
      heap[at] = item;
      at = child;
    }
    heap[at] = moved;
  }
}
