import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { AbstractConnector } from 'ioredis';
import type { Names } from '../names.ts';

/** Where a server listens. */
export interface Address {
  host: string;
  port: number;
}

interface SocketOptions {
  tls: ConnectionOptions | undefined;
  names: Names;
}

/** Connects by the names of the process, which ioredis has no option for. */
export function openSocket(address: Address, { tls, names }: SocketOptions): Socket {
  const named = { ...address, lookup: names.lookupOwn };
  const socket = tls === undefined ? connectPlain(named) : connectTls({ ...tls, ...named });
  return names.watched(socket, address.host);
}

/** @returns the class that ioredis makes connections to one host with, by its option `Connector` */
export function hostConnector(address: Address, options: SocketOptions) {
  return class HostConnector extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS);
    }

    async connect(): Promise<Socket> {
      this.connecting = true;
      const socket = openSocket(address, options);
      socket.once('error', (error: Error) => (this.firstError = error));
      this.stream = socket;
      return socket;
    }
  };
}

/** How long a peer may take to agree to an end; ioredis waits it out for what is closed already, too. */
export const DISCONNECT_TIMEOUT_MS = 250;
