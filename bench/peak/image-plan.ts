import { createHash } from 'node:crypto';

/** A layer of random bytes that follow from its key. */
type Layer = { fileBytes: number; keyHex: string };

/** Layers of `sizeBytes` together, as equal as they can be; the same seed gives the same ones. */
export function planLayers(options: {
  sizeBytes: number;
  layers: number;
  seed: number;
}): readonly Layer[] {
  const { sizeBytes, layers, seed } = options;
  return Array.from({ length: layers }, (_, index) => {
    const start = Math.floor((sizeBytes * index) / layers);
    const end = Math.floor((sizeBytes * (index + 1)) / layers);
    return { fileBytes: end - start, keyHex: keyOf(`${seed}/${index}`) };
  });
}

/** The same image with another last layer, as a new version of a program has. */
export function nextVersion(layers: readonly Layer[], seed: number): readonly Layer[] {
  return layers.map((layer, index) =>
    index < layers.length - 1 ? layer : { ...layer, keyHex: keyOf(`${seed}/${index}/next`) },
  );
}

function keyOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
