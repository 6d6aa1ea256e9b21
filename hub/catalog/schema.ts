/** Tables of migration 0001. */
export type RegistryTables = {
  repository: { name: string };
  blob: { digest: string; size: number; root: Uint8Array; hashes: Uint8Array };
  repository_blob: { repository: string; digest: string };
  manifest: {
    repository: string;
    digest: string;
    media_type: string;
    bytes: Uint8Array;
    subject: string | null;
    artifact_type: string | null;
  };
  manifest_reference: {
    repository: string;
    manifest_digest: string;
    digest: string;
    kind: 'blob' | 'manifest';
  };
  tag: { repository: string; name: string; digest: string };
};
