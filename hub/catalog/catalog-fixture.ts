// What the tests of every catalog have in common, whatever database it is in.
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import type { OpenCatalog } from './open-catalog.ts';
import type { NewManifest } from './port.ts';
import type { RegistryTables } from './schema.ts';

export const REPOSITORY = 'team/app';

/** One database, empty at first. */
export type CatalogRig = {
  /** Opens the catalog in the database, each time as another program; closed with the test. */
  readonly open: () => Promise<OpenCatalog>;
  /** Connects to the database as it is; closed with the test. */
  readonly connect: () => Kysely<RegistryTables>;
};

export type SharedOptions = {
  skip?: string | false;
  /** There is one program: a second one in this process would wait for it with both standing. */
  alone?: boolean;
};

/** Makes tests of two programs that share one database. */
export function sharedChecks(
  where: string,
  rig: (t: TestContext) => Promise<CatalogRig>,
  { skip = false, alone = false }: SharedOptions,
) {
  type Work = (catalog: OpenCatalog, other: OpenCatalog) => Promise<void>;
  return (promise: string, work: Work): void => {
    test(`${where}: ${promise}`, { skip }, async (t) => {
      const { open } = await rig(t);
      const catalog = await open();
      await work(catalog, alone ? catalog : await open());
    });
  };
}

/** Of the content that tests mean by this text. */
export function digest(text: string): Digest {
  return digestOf(Buffer.from(text));
}

/** A manifest that is this text, and names nothing. */
export function manifest(text: string, fields: Partial<NewManifest> = {}): NewManifest {
  return {
    repository: REPOSITORY,
    digest: digest(text),
    mediaType: OCI_MANIFEST,
    bytes: Buffer.from(text),
    references: [],
    tags: [],
    ...fields,
  };
}
