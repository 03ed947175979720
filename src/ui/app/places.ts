/**
 * The places that the navigation names, with the key that goes there after `g`. The foot of a narrow screen
 * has room for those that are `first`.
 */
export const PLACES = [
  { path: '/', name: 'Now', key: 'n', first: true, icon: 'M2 8h3l2-5 3 10 2-5h2' },
  { path: '/runs', name: 'Runs', key: 'r', first: true, icon: 'M2 4h7M2 8h12M2 12h9' },
  {
    path: '/batches',
    name: 'Batches',
    key: 'b',
    first: false,
    icon: 'M2 2h5v5H2V2Zm7 0h5v5H9V2ZM2 9h5v5H2V9Zm7 0h5v5H9V9Z',
  },
  {
    path: '/deliveries',
    name: 'Deliveries',
    key: 'd',
    first: true,
    icon: 'M14 2 2 7l5 2 2 5 5-12ZM7 9l3-3',
  },
  {
    path: '/endpoints',
    name: 'Endpoints',
    key: 'e',
    first: false,
    icon: 'M5 2v4m6-4v4M3 6h10v2a5 5 0 0 1-10 0V6Zm5 7v2',
  },
  {
    path: '/alerts',
    name: 'Alerts',
    key: 'a',
    first: true,
    icon: 'M8 2a4 4 0 0 1 4 4v3l1.5 3h-11L4 9V6a4 4 0 0 1 4-4ZM6.5 14h3',
  },
  {
    path: '/workflows',
    name: 'Workflows',
    key: 'w',
    first: false,
    icon: 'M2 2h4v4H2V2Zm8 8h4v4h-4v-4ZM6 4h4a2 2 0 0 1 2 2v4',
  },
  {
    path: '/system',
    name: 'System',
    key: 's',
    first: false,
    icon: 'M2 3h12v4H2V3Zm0 6h12v4H2V9Zm2-4h1m-1 6h1',
  },
] as const;
