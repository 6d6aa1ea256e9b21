// A client in the network of one machine that pulls when told.
import { serveTasks } from '../rig/client.ts';
import { pullOnce, type PullTask } from './pull.ts';

await serveTasks((line) => {
  const task: PullTask = JSON.parse(line);
  return pullOnce(task);
});
