/** Repeatable numbers in [0, 1) from a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Random = () => number;

function below(random: Random, end: number): number {
  return Math.floor(random() * end);
}

// What decoders trip over: lengths and numbers at their ends, signs, separators.
const TOKENS = [
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
  Buffer.from([0x80, 0x80, 0x80, 0x80, 0x10]),
  Buffer.from([0x80, 0x00]),
  Buffer.from([0, 0, 0, 0, 0, 0, 0, 0]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xef, 0xbb, 0xbf]),
  Buffer.from([0xe2, 0x80, 0xae]),
  ...[
    '-1',
    '9007199254740993',
    '18446744073709551616',
    '1e999',
    '..%2f',
    '%00',
    '../',
    '//',
    '"',
    '\\u0000',
    '\\',
    ',',
    '=',
    ';',
    ':',
    '@',
    '{"__proto__":1,',
    '[[[[[[[[',
    '\r\n',
    ' ',
  ].map((text) => Buffer.from(text)),
];

const MUTATIONS: ((input: Buffer, random: Random, corpus: readonly Buffer[]) => Buffer)[] = [
  (input, random) => {
    const copy = Buffer.from(input);
    if (copy.length > 0) copy[below(random, copy.length)] = below(random, 256);
    return copy;
  },
  (input, random) => {
    const copy = Buffer.from(input);
    const at = below(random, copy.length);
    if (copy.length > 0) copy.writeUInt8((copy[at] ?? 0) ^ (1 << below(random, 8)), at);
    return copy;
  },
  (input, random) => input.subarray(0, below(random, input.length + 1)),
  (input, random) => input.subarray(below(random, input.length + 1)),
  (input, random) => {
    const at = below(random, input.length + 1);
    const token = TOKENS[below(random, TOKENS.length)] ?? Buffer.alloc(0);
    const skip = random() < 0.5 ? token.length : 0;
    return Buffer.concat([input.subarray(0, at), token, input.subarray(at + skip)]);
  },
  (input, random) => {
    const start = below(random, input.length + 1);
    const end = start + below(random, Math.min(64, input.length - start) + 1);
    const part = input.subarray(start, end);
    return Buffer.concat([input.subarray(0, end), part, input.subarray(end)]);
  },
  (input, random) => {
    const start = below(random, input.length + 1);
    return Buffer.concat([input.subarray(0, start), input.subarray(start + below(random, 16))]);
  },
  (input, random, corpus) => {
    const other = corpus[below(random, corpus.length)] ?? input;
    const at = below(random, input.length + 1);
    return Buffer.concat([input.subarray(0, at), other.subarray(below(random, other.length + 1))]);
  },
  (_input, random) =>
    Buffer.from(Array.from({ length: below(random, 200) }, () => below(random, 256))),
];

/** Longest input that is made, in bytes. */
export const INPUT_MAX_BYTES = 65_536;
const MUTATIONS_MAX = 4;

/** An input near one of the corpus: one of them with a few things done to it. */
export function mutate(corpus: readonly Buffer[], random: Random): Buffer {
  let input = corpus[below(random, corpus.length)] ?? Buffer.alloc(0);
  const steps = below(random, MUTATIONS_MAX + 1);
  for (let i = 0; i < steps; i++) {
    const change = MUTATIONS[below(random, MUTATIONS.length)];
    input = change?.(input, random, corpus).subarray(0, INPUT_MAX_BYTES) ?? input;
  }
  return input;
}
