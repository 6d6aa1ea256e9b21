import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

export const FOLDER = path.join(import.meta.dirname, '..', '..', 'daemonset');
const FILES = ['namespace.yaml', 'hub.yaml', 'agent.yaml'];

/** The parts of Kubernetes objects that the tests look at. */
export type Manifest = {
  kind: string;
  apiVersion: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  data?: Record<string, string>;
  spec?: Spec;
};

export type Spec = {
  selector?: Record<string, string> & { matchLabels?: Record<string, string> };
  ports?: { name: string; port: number; targetPort: string }[];
  template?: { metadata: { labels: Record<string, string> }; spec: PodSpec };
  volumeClaimTemplates?: { metadata: { name: string } }[];
  serviceName?: string;
  replicas?: number;
};

export type PodSpec = {
  hostNetwork?: boolean;
  dnsPolicy?: string;
  enableServiceLinks?: boolean;
  automountServiceAccountToken?: boolean;
  priorityClassName?: string;
  terminationGracePeriodSeconds?: number;
  tolerations?: { operator: string; key?: string }[];
  securityContext: SecurityContext;
  initContainers?: Container[];
  containers: Container[];
  volumes: Volume[];
};

export type SecurityContext = {
  runAsNonRoot?: boolean;
  runAsUser?: number;
  fsGroup?: number;
  allowPrivilegeEscalation?: boolean;
  readOnlyRootFilesystem?: boolean;
  capabilities?: { drop?: string[]; add?: string[] };
  seccompProfile?: { type: string };
};

export type Container = {
  name: string;
  image: string;
  args?: string[];
  command?: string[];
  env?: { name: string; value?: string; valueFrom?: object }[];
  ports?: { name: string; containerPort: number }[];
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
  securityContext: SecurityContext;
  resources: { requests: Record<string, string>; limits: Record<string, string> };
} & Partial<Record<ProbeName, { httpGet: { path: string; port: string } }>>;

export type ProbeName = 'startupProbe' | 'livenessProbe' | 'readinessProbe';

export type Volume = {
  name: string;
  configMap?: { name: string };
  secret?: { secretName: string; optional?: boolean; defaultMode?: number };
  hostPath?: { path: string; type: string };
};

/** Every object of the manifests. */
export function readManifests(): Manifest[] {
  return FILES.flatMap((file) => {
    const documents = parseAllDocuments(readFileSync(path.join(FOLDER, file), 'utf8'));
    if (!Array.isArray(documents)) return [];
    return documents.map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      const manifest: Manifest = JSON.parse(JSON.stringify(document.toJS()));
      return manifest;
    });
  });
}

/** The one object of a kind and name. */
export function objectOf(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.filter((entry) => entry.kind === kind && entry.metadata.name === name);
  const [first] = found;
  if (first === undefined || found.length > 1) {
    throw new Error(`${found.length} objects ${kind}/${name}`);
  }
  return first;
}

/** The pod of a workload. */
export function podOf(manifest: Manifest): PodSpec {
  const pod = manifest.spec?.template?.spec;
  if (pod === undefined) throw new Error(`${manifest.metadata.name} has no pod`);
  return pod;
}
