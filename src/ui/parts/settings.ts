import { effect, signal } from '@preact/signals';

/** What a user chose for this browser; no secret is among it. */
interface Settings {
  theme: 'system' | 'light' | 'dark';
  /** Times as UTC rather than in the browser's zone. */
  isUtc: boolean;
  /** The name that acknowledgements and silences carry. */
  name: string;
}

const KEY = 'runwatch';

const DEFAULTS: Settings = { theme: 'system', isUtc: false, name: '' };

function read(): Settings {
  try {
    return { ...DEFAULTS, ...(JSON.parse(window.localStorage.getItem(KEY) ?? '{}') as object) };
  } catch {
    // A browser that keeps nothing, or something that is not ours.
    return DEFAULTS;
  }
}

export const settings = signal<Settings>(read());

export function setSetting(change: Partial<Settings>): void {
  settings.value = { ...settings.peek(), ...change };
  try {
    window.localStorage.setItem(KEY, JSON.stringify(settings.peek()));
  } catch {
    // The choice lasts as long as the page.
  }
}

effect(() => {
  const { theme } = settings.value;
  document.documentElement.dataset['theme'] = theme;
});

export function nextTheme(): void {
  const isDark = window.matchMedia('(prefers-color-scheme: dark)').matches;
  const { theme } = settings.peek();
  const shown = theme === 'system' ? (isDark ? 'dark' : 'light') : theme;
  setSetting({ theme: shown === 'dark' ? 'light' : 'dark' });
}
