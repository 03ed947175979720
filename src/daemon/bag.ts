import type { Daemon } from '../daemon.ts';

/** The members that a part without a class takes. They have to be built before it. */
function membersOf(daemon: Daemon) {
  const { stores, tracing, secrets } = daemon;
  return {
    ...stores,
    stores,
    alertRules: daemon.alertRules,
    clock: daemon.clock,
    storeGuard: daemon.storeGuard,
    storeRepair: daemon.storeRepair,
    storeConditions: daemon.storeConditions,
    watchNotes: daemon.watchNotes,
    processId: daemon.id,
    newToken: daemon.newToken,
    processes: daemon.processes,
    config: daemon.config,
    names: daemon.names,
    hostShortages: daemon.hostShortages,
    endpoints: daemon.endpoints,
    metrics: daemon.metrics,
    queueOf: (name: string) => daemon.queueOf(name),
    workflowNames: daemon.workflowNames,
    linksOf: daemon.linksOf,
    tracing,
    trace: tracing.trace,
    userAgent: daemon.userAgent,
    newMark: daemon.newMark,
    now: daemon.now,
    random: daemon.random,
    log: daemon.log,
    eventLog: daemon.eventLog,
    connections: daemon.connections,
    dispatch: (pools: string[]) => daemon.dispatch(pools),
    ...secrets,
  };
}

export type Bag = ReturnType<typeof membersOf>;

/**
 * What parts take that are functions of their dependencies. It goes with the last of them: a class takes
 * the process.
 */
export function bagOf<More extends object>(
  daemon: Daemon,
  more: More,
): Omit<Bag, keyof More> & More {
  return Object.assign(membersOf(daemon), more);
}
