import path from 'node:path';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import type { GrpcObject, ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = path.join(import.meta.dirname, 'cri.proto');
const CALL_TIMEOUT_MS = 180_000;

type Client = InstanceType<ServiceClientConstructor>;
type Message = { [key: string]: unknown };

/** The calls of the container runtime interface that a kubelet makes to start a pod. */
export class Cri {
  readonly #images: Client;
  readonly #runtime: Client;

  constructor(socket: string) {
    const address = `unix://${socket}`;
    // containerd refuses the default authority, which would be the escaped socket path.
    const options = { 'grpc.default_authority': 'localhost' };
    this.#images = new (serviceOf('ImageService'))(address, credentials.createInsecure(), options);
    this.#runtime = new (serviceOf('RuntimeService'))(
      address,
      credentials.createInsecure(),
      options,
    );
  }

  /** Pulls an image as the kubelet does; returns the image's reference. */
  async pullImage(image: string, auth?: { username: string; password: string }): Promise<string> {
    const request = { image: { image }, ...(auth ? { auth } : {}) };
    return text(await call(this.#images, 'PullImage', request), 'image_ref');
  }

  /** Starts a pod in the machine's own network with one container; returns what to stop. */
  async runPod(options: {
    name: string;
    image: string;
    command: readonly string[];
    logFolder: string;
  }): Promise<Pod> {
    const sandboxConfig = {
      metadata: { name: options.name, uid: options.name, namespace: 'default', attempt: 0 },
      log_directory: options.logFolder,
      linux: {
        cgroup_parent: `/flotilla-test/${options.name}`,
        security_context: { namespace_options: { network: 'NODE' } },
      },
    };
    const sandbox = await call(this.#runtime, 'RunPodSandbox', { config: sandboxConfig });
    const podId = text(sandbox, 'pod_sandbox_id');
    const created = await call(this.#runtime, 'CreateContainer', {
      pod_sandbox_id: podId,
      sandbox_config: sandboxConfig,
      config: {
        metadata: { name: 'main', attempt: 0 },
        image: { image: options.image },
        command: options.command,
        log_path: 'main.log',
      },
    });
    const containerId = text(created, 'container_id');
    await call(this.#runtime, 'StartContainer', { container_id: containerId });
    return new Pod(this.#runtime, podId, containerId);
  }

  close(): void {
    this.#images.close();
    this.#runtime.close();
  }
}

/** A running pod of one container. */
export class Pod {
  readonly #runtime: Client;
  readonly #podId: string;
  readonly #containerId: string;

  constructor(runtime: Client, podId: string, containerId: string) {
    this.#runtime = runtime;
    this.#podId = podId;
    this.#containerId = containerId;
  }

  /** Runs a command in the container; throws when it fails. */
  async exec(command: readonly string[]): Promise<string> {
    const request = { container_id: this.#containerId, cmd: command, timeout: 60 };
    const answer = await call(this.#runtime, 'ExecSync', request);
    const [stdout, stderr] = [answer['stdout'], answer['stderr']];
    if (answer['exit_code'] !== 0) throw new Error(`${command.join(' ')}: ${String(stderr)}`);
    return String(stdout);
  }

  async remove(): Promise<void> {
    await call(this.#runtime, 'StopPodSandbox', { pod_sandbox_id: this.#podId });
    await call(this.#runtime, 'RemovePodSandbox', { pod_sandbox_id: this.#podId });
  }
}

function serviceOf(name: 'ImageService' | 'RuntimeService'): ServiceClientConstructor {
  const definition = loadSync(PROTO, {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  let found: unknown = loadPackageDefinition(definition);
  for (const part of ['runtime', 'v1', name]) {
    found = isGrpcObject(found) ? found[part] : undefined;
  }
  if (!isService(found)) throw new Error(`${PROTO} defines no service ${name}`);
  return found;
}

function isGrpcObject(value: unknown): value is GrpcObject {
  return typeof value === 'object' && value !== null;
}

function isService(value: unknown): value is ServiceClientConstructor {
  return typeof value === 'function';
}

async function call(client: Client, method: string, request: object): Promise<Message> {
  const { promise, resolve, reject } = Promise.withResolvers<Message>();
  const deadline = Date.now() + CALL_TIMEOUT_MS;
  const send: unknown = client[method];
  if (typeof send !== 'function') throw new Error(`no CRI call ${method}`);
  send.call(client, request, { deadline }, (err: Error | null, answer: Message) => {
    if (err) reject(new Error(`CRI ${method}: ${err.message}`, { cause: err }));
    else resolve(answer);
  });
  return promise;
}

function text(message: Message, field: string): string {
  const value = message[field];
  if (typeof value !== 'string' || value === '') throw new Error(`CRI answer without ${field}`);
  return value;
}
