import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Static, TObject } from 'typebox';
import { AgentOptions } from '../../agent/options.ts';
import { HubOptions } from '../../hub/options.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { parseListen } from '../../proto/ops/listen.ts';
import { FOLDER, objectOf, podOf, readManifests } from './manifests.ts';
import type { Container, PodSpec } from './manifests.ts';

const USER = 65_532;
const PORTS = { registry: 7400, hubOps: 7401, mirror: 7410, agentOps: 7411, libp2p: 7412 };

const manifests = readManifests();
const hub = objectOf(manifests, 'StatefulSet', 'flotilla-hub');
const agent = objectOf(manifests, 'DaemonSet', 'flotilla-agent');
const pods: readonly [name: string, pod: PodSpec][] = [
  ['hub', podOf(hub)],
  ['agent', podOf(agent)],
];

function mainOf(pod: PodSpec): Container {
  const [container] = pod.containers;
  assert.ok(container !== undefined);
  return container;
}

/** The configuration of a program as it will read it in its pod. */
function configOf<S extends TObject>(kind: 'hub' | 'agent', schema: S): Static<S> {
  const map = objectOf(manifests, 'ConfigMap', `flotilla-${kind}`);
  const text = map.data?.[`${kind}.yaml`];
  assert.ok(text !== undefined);
  const pod = podOf(kind === 'hub' ? hub : agent);
  const variables = (mainOf(pod).env ?? []).map((entry) => [entry.name, entry.value ?? 'given']);
  const env: Record<string, string> = Object.fromEntries(variables);
  return loadConfig(schema, { text, source: `${kind}.yaml`, env, kind });
}

const hubConfig = configOf('hub', HubOptions);
const agentConfig = configOf('agent', AgentOptions);

function portOf(pod: PodSpec, name: string): number | undefined {
  return mainOf(pod).ports?.find((port) => port.name === name)?.containerPort;
}

function portsOf(listen: readonly string[]): number[] {
  return [...new Set(listen.map((text) => parseListen(text).port))];
}

test('the ports of the pods are those the programs listen on', () => {
  const [hubPod, agentPod] = [podOf(hub), podOf(agent)];
  assert.equal(portOf(hubPod, 'registry'), PORTS.registry);
  assert.equal(portOf(hubPod, 'ops'), PORTS.hubOps);
  assert.equal(portOf(agentPod, 'ops'), PORTS.agentOps);
  assert.equal(portOf(agentPod, 'libp2p'), PORTS.libp2p);
  assert.deepEqual(portsOf(agentConfig.ops.listen), [PORTS.agentOps]);
  assert.deepEqual(portsOf(agentConfig.swarm.listen), [PORTS.libp2p]);
  assert.deepEqual(portsOf(agentConfig.mirror.listen), [PORTS.mirror]);
  assert.deepEqual(portsOf(hubConfig.http.listen), [PORTS.registry]);
  assert.deepEqual(portsOf(hubConfig.ops.listen), [PORTS.hubOps]);
});

test('the default ports are those of the table in ARCHITECTURE.md', () => {
  const text = readFileSync(path.join(FOLDER, '..', 'ARCHITECTURE.md'), 'utf8');
  for (const port of Object.values(PORTS)) assert.match(text, new RegExp(`^\\| ${port} \\|`, 'm'));
});

test('the mirror is on the loopback of the node only', () => {
  const hosts = agentConfig.mirror.listen.map((text) => parseListen(text).host);
  assert.deepEqual(hosts.sort(), ['127.0.0.1', '::1']);
  assert.equal(podOf(agent).hostNetwork, true);
  assert.equal(podOf(agent).dnsPolicy, 'ClusterFirstWithHostNet');
});

test('the agents find the hub by the name and port of its Service, over TLS', () => {
  const service = objectOf(manifests, 'Service', 'flotilla-hub');
  const url = new URL(agentConfig.hub.url ?? '');
  assert.equal(url.protocol, 'https:');
  assert.equal(url.hostname, `${service.metadata.name}.${service.metadata.namespace}.svc`);
  const port = service.spec?.ports?.find((entry) => String(entry.port) === url.port);
  assert.equal(port?.targetPort, 'registry');
  assert.equal(hub.spec?.serviceName, service.metadata.name);
  assert.deepEqual(service.spec?.selector, hub.spec?.selector?.matchLabels);
});

test('labels select their pods, everything is in one namespace', () => {
  for (const workload of [hub, agent]) {
    const labels = workload.spec?.template?.metadata.labels;
    assert.deepEqual(workload.spec?.selector?.matchLabels, labels);
  }
  const namespace = manifests.find((entry) => entry.kind === 'Namespace')?.metadata.name;
  for (const { kind, metadata } of manifests) {
    if (kind === 'Namespace' || kind === 'PriorityClass') continue;
    assert.equal(metadata.namespace, namespace, `${kind} ${metadata.name}`);
  }
  const classes = manifests.filter((entry) => entry.kind === 'PriorityClass');
  assert.ok(classes.some(({ metadata }) => metadata.name === podOf(agent).priorityClassName));
});

test('every mount has its volume, every volume its object or its Secret in the README', () => {
  const readme = readFileSync(path.join(FOLDER, 'README.md'), 'utf8');
  const claims = hub.spec?.volumeClaimTemplates?.map(({ metadata }) => metadata.name) ?? [];
  for (const [name, pod] of pods) {
    const volumes = new Set([...pod.volumes.map((volume) => volume.name), ...claims]);
    for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
      for (const mount of container.volumeMounts) assert.ok(volumes.has(mount.name), mount.name);
    }
    for (const { configMap, secret } of pod.volumes) {
      const object = configMap?.name ?? secret?.secretName;
      if (object === undefined) continue;
      const here = manifests.some(({ kind, metadata }) => {
        return kind === 'ConfigMap' && metadata.name === object;
      });
      assert.ok(here || readme.includes(` ${object} `), `${name}: nobody makes ${object}`);
    }
  }
});

test('every file the configurations name is mounted', () => {
  const files: readonly [PodSpec, string | undefined][] = [
    [podOf(agent), agentConfig.hub.caFile],
    [podOf(agent), agentConfig.hub.joinTokenFile],
    [podOf(agent), agentConfig.store.dataDir],
    ...hubFiles().map((file): [PodSpec, string | undefined] => [podOf(hub), file]),
  ];
  for (const [pod, file] of files) {
    assert.ok(file !== undefined);
    const mounts = mainOf(pod).volumeMounts.map((mount) => mount.mountPath);
    assert.ok(
      mounts.some((mount) => `${file}/`.startsWith(`${mount}/`)),
      `${file} is not mounted`,
    );
    const [flag, config] = mainOf(pod).args?.slice(1) ?? [];
    assert.equal(flag, '--config');
    assert.ok(mounts.includes(path.dirname(config ?? '')));
  }
});

function hubFiles(): (string | undefined)[] {
  const { tls, hub: own, access } = hubConfig;
  return [tls?.certFile, tls?.keyFile, own.dataDir, access.adminPasswordFile];
}

test('nothing runs as root but the init container that hands over the folder', () => {
  for (const [name, pod] of pods) {
    assert.equal(pod.securityContext.runAsNonRoot, true, name);
    assert.equal(pod.securityContext.runAsUser, USER, name);
    assert.equal(pod.securityContext.seccompProfile?.type, 'RuntimeDefault', name);
    assert.equal(pod.automountServiceAccountToken, false, name);
    assert.equal(pod.enableServiceLinks, false, name);
    for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
      assert.equal(container.securityContext.readOnlyRootFilesystem, true, container.name);
      assert.equal(container.securityContext.allowPrivilegeEscalation, false, container.name);
      assert.deepEqual(container.securityContext.capabilities?.drop, ['ALL'], container.name);
      assert.ok(container.resources.requests['memory'] !== undefined, container.name);
      assert.ok(container.resources.limits['memory'] !== undefined, container.name);
    }
  }
  const prepare = podOf(agent).initContainers?.[0];
  assert.equal(prepare?.securityContext.runAsUser, 0);
  assert.deepEqual(prepare?.securityContext.capabilities?.add, ['CHOWN', 'FOWNER']);
  const image = readFileSync(path.join(FOLDER, 'Containerfile'), 'utf8');
  assert.match(image, new RegExp(`^USER ${USER}:${USER}$`, 'm'));
});

test('the probes ask the ops port, and a pod gets longer than its drain', () => {
  const drains = { hub: hubConfig.ops.drainTimeout, agent: agentConfig.ops.drainTimeout };
  for (const [name, pod] of pods) {
    const container = mainOf(pod);
    assert.deepEqual(container.startupProbe?.httpGet, { path: '/healthz', port: 'ops' });
    assert.deepEqual(container.livenessProbe?.httpGet, { path: '/healthz', port: 'ops' });
    assert.deepEqual(container.readinessProbe?.httpGet, { path: '/readyz', port: 'ops' });
    const graceMs = (pod.terminationGracePeriodSeconds ?? 30) * 1_000;
    assert.ok(graceMs > drains[name === 'hub' ? 'hub' : 'agent'] + 5_000, name);
  }
});

test('there is an agent on every node, tainted ones included, and one hub', () => {
  assert.deepEqual(podOf(agent).tolerations, [{ operator: 'Exists' }]);
  assert.equal(hub.spec?.replicas, 1);
});
