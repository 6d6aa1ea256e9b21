// Hosts with TCP, Noise and yamux as libp2p ships them. With no argument one host that listens;
// with an address and a number, so many hosts that dial it and stay.
import { noise } from '@chainsafe/libp2p-noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

const [address, count = '0'] = process.argv.slice(2);
const parts = {
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
};

if (address === undefined) {
  const host = await createLibp2p({
    ...parts,
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    connectionManager: { inboundConnectionThreshold: 1_000 },
  });
  process.stdout.write(`ready ${host.getMultiaddrs().join(' ')}\n`);
} else {
  for (let i = 0; i < Number(count); i++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const host = await createLibp2p(parts);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await host.dial(multiaddr(address));
  }
  process.stdout.write('ready\n');
}
