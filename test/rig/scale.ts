const MIB = 1024 * 1024;

/** Sizes of the long trials in the test command, which has to end within minutes. */
const reduced = {
  bigLayerBytes: 200 * MIB,
  faultLayerBytes: 64 * MIB,
  swarmNodes: 4,
  coldAgents: 6,
  coldAgentPriority: 0,
  coldImageBytes: 128 * MIB,
  memoryBlobBytes: 512 * MIB,
  catalogManifests: 100_000,
  mutantStep: 16,
  crashRounds: { files: 1, s3: 1 },
};

/** Sizes under `npm run soak`. */
const full: typeof reduced = {
  bigLayerBytes: 1024 * MIB,
  faultLayerBytes: 256 * MIB,
  swarmNodes: 6,
  coldAgents: 20,
  /** So many leave the processors to the hub, which has a machine of its own elsewhere. */
  coldAgentPriority: 10,
  coldImageBytes: 1024 * MIB,
  memoryBlobBytes: 4096 * MIB,
  catalogManifests: 1_000_000,
  mutantStep: 1,
  crashRounds: { files: 200, s3: 200 },
};

/** How big the trials are in this run. */
export const scale = process.env['FLOTILLA_TEST_SCALE'] === 'full' ? full : reduced;
