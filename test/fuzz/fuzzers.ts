import { BUNDLE_FUZZERS } from './bundle-fuzzers.ts';
import type { Fuzzer } from './campaign.ts';
import { REGISTRY_FUZZERS } from './registry-fuzzers.ts';
import { SIGNED_FUZZERS } from './signed-fuzzers.ts';
import { WIRE_FUZZERS } from './wire-fuzzers.ts';

/** Every decoder and parser of bytes that others send us. */
export const FUZZERS: readonly Fuzzer[] = [
  ...SIGNED_FUZZERS,
  ...WIRE_FUZZERS,
  ...REGISTRY_FUZZERS,
  ...BUNDLE_FUZZERS,
];
