import { fork } from 'node:child_process';
import path from 'node:path';

const ENTRY = path.join(import.meta.dirname, 'agent-process.js');

/** The harness's end of a producer or worker process. */
export class Agent {
  #child;
  #calls = new Map();
  #nextId = 1;
  #exited;

  static async start(contender, url) {
    const agent = new Agent();
    await agent.#spawn(contender, url);
    return agent;
  }

  get pid() {
    return this.#child.pid;
  }

  async #spawn(contender, url) {
    this.#child = fork(ENTRY, [contender, url], { serialization: 'advanced' });
    const ready = Promise.withResolvers();
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.once('exit', (code, signal) => {
      const error = new Error(`${contender}: its process ended (${signal ?? code})`);
      ready.reject(error);
      for (const call of this.#calls.values()) call.reject(error);
      this.#calls.clear();
    });
    this.#child.on('message', (message) => {
      if (message.ready) return ready.resolve();
      const call = this.#calls.get(message.id);
      this.#calls.delete(message.id);
      if (message.error) call.reject(new Error(`${contender}: ${message.error}`));
      else call.resolve(message.result);
    });
    await ready.promise;
  }

  call(verb, options = {}) {
    const id = this.#nextId++;
    const call = Promise.withResolvers();
    this.#calls.set(id, call);
    this.#child.send({ id, verb, options });
    return call.promise;
  }

  /** Asks politely for `ms`, then kills. */
  async stop(ms = 40_000) {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), ms);
    await this.call('stop').catch(() => this.#child.kill('SIGKILL'));
    await this.#exited;
    clearTimeout(killer);
  }

  async kill() {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
