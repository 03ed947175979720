import type { ComponentType } from 'preact';
import { useLayoutEffect } from 'preact/hooks';
import { may } from '../api/session.ts';
import { Empty } from '../parts/basics.tsx';
import { Alerts } from '../screens/alerts.tsx';
import { AlertDetail } from '../screens/alert.tsx';
import { AuditLog } from '../screens/audit.tsx';
import { BatchDetail } from '../screens/batch.tsx';
import { Batches } from '../screens/batches.tsx';
import { Deliveries } from '../screens/deliveries.tsx';
import { Delivery } from '../screens/delivery.tsx';
import { Endpoints } from '../screens/endpoints.tsx';
import { Now } from '../screens/now.tsx';
import { Run } from '../screens/run.tsx';
import { Runs } from '../screens/runs.tsx';
import { System } from '../screens/system.tsx';
import { Workflows } from '../screens/workflows.tsx';
import { screenName } from './attention.ts';
import { matchPath } from './match-path.ts';
import { address, href, recall } from './router.ts';

type Values = Record<string, string>;

const SCREENS: readonly {
  shape: string;
  name: string;
  screen: ComponentType<{ values: Values }>;
}[] = [
  { shape: '/', name: 'Now', screen: Now },
  { shape: '/runs', name: 'Runs', screen: Runs },
  { shape: '/runs/:id', name: 'Run', screen: Run },
  { shape: '/runs/:source/:id+', name: 'Run', screen: Run },
  { shape: '/batches', name: 'Batches', screen: Batches },
  { shape: '/batches/:name', name: 'Batch', screen: BatchDetail },
  { shape: '/deliveries', name: 'Deliveries', screen: Deliveries },
  { shape: '/deliveries/:id', name: 'Delivery', screen: Delivery },
  { shape: '/endpoints', name: 'Endpoints', screen: Endpoints },
  { shape: '/alerts', name: 'Alerts', screen: Alerts },
  { shape: '/alerts/:id', name: 'Alert', screen: AlertDetail },
  { shape: '/workflows', name: 'Workflows', screen: Workflows },
  { shape: '/system', name: 'System', screen: System },
  { shape: '/system/audit', name: 'Audit log', screen: AuditLog },
];

/** Scrolls to where the page was when a user left it, as soon as it is long enough again. */
function useScrollBack(): void {
  const shown = address.value;
  useLayoutEffect(() => {
    const top = recall('scroll') as number | null;
    if (top === null) return undefined;
    const scroll = () => {
      window.scrollTo(0, top);
      if (Math.abs(window.scrollY - top) < 1) stop.abort();
    };
    const observer = new ResizeObserver(scroll);
    const stop = new AbortController();
    const { signal } = stop;
    signal.addEventListener('abort', () => observer.disconnect());
    // What a user does goes before.
    for (const name of ['wheel', 'touchmove', 'pointerdown', 'keydown']) {
      window.addEventListener(name, () => stop.abort(), { signal, passive: true });
    }
    scroll();
    if (!signal.aborted) observer.observe(document.body);
    return () => stop.abort();
  }, [shown]);
}

/** The screen that the address names. */
export function Screen() {
  const { path } = address.value;
  useScrollBack();
  for (const { shape, name, screen: Shown } of SCREENS) {
    const values = matchPath(shape, path);
    if (values === null) continue;
    screenName.value = name;
    return may.read.value ? <Shown key={path} values={values} /> : <WriteOnly />;
  }
  screenName.value = 'No such screen';
  return (
    <Empty title="There is no such screen.">
      <a href={href('/')}>What is going on now</a>
    </Empty>
  );
}

function WriteOnly() {
  return (
    <Empty title="This token may not read.">
      <p>Sign in with one that has the scope read.</p>
    </Empty>
  );
}
