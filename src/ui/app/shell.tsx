import { useEffect, useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import { connection, heldBack, isPaused, togglePause } from '../api/live.ts';
import { session, signOut } from '../api/session.ts';
import { shortText } from '../../core/time.ts';
import { Dialog } from '../parts/basics.tsx';
import { countText } from '../parts/format.ts';
import { nextTheme, setSetting, settings } from '../parts/settings.ts';
import { Clock } from '../parts/time.tsx';
import { say, Toasts } from '../parts/toast.tsx';
import { isNarrow, now } from '../parts/hooks.ts';
import { attentionCount, useAttentionCount } from './attention.ts';
import { Help, isHelpShown } from './help.tsx';
import { useKeys } from './keys.ts';
import { AcknowledgeDialog } from '../parts/acknowledge.tsx';
import { Confirmation } from '../parts/confirm.tsx';
import { NewSecret } from '../screens/new-secret.tsx';
import { isSilenceShown, SilenceDialog } from '../screens/silences.tsx';
import { isPaletteShown, Palette } from './palette.tsx';
import { address, canGoBack, go, goBack, href, isKiosk } from './router.ts';
import { PLACES } from './places.ts';

/** What surrounds every screen. */
export function Shell({ children }: { children: ComponentChildren }) {
  useAttentionCount();
  useShellKeys();
  const kiosk = isKiosk.value;
  useEffect(() => {
    document.documentElement.classList.toggle('kiosk', kiosk);
  }, [kiosk]);
  return (
    <>
      <a class="skip" href="#main" target="_self">
        Skip to content
      </a>
      {!kiosk && <Navigation />}
      <div class="stage">
        <TopBar />
        <main id="main" tabIndex={-1}>
          <SendsNothing />
          <Lost />
          {children}
        </main>
      </div>
      <Toasts />
      <Confirmation />
      <NewSecret />
      <AcknowledgeDialog />
      {isHelpShown.value && <Help />}
      {isPaletteShown.value && <Palette />}
      {isSilenceShown.value && (
        <SilenceDialog matchers={{}} onClose={() => (isSilenceShown.value = false)} />
      )}
    </>
  );
}

function useShellKeys(): void {
  const places = Object.fromEntries(
    PLACES.map(({ path, key }) => [`g ${key}`, () => go(href(path))]),
  );
  useKeys({
    ...places,
    '.': pause,
    '?': () => (isHelpShown.value = true),
    'Mod k': () => (isPaletteShown.value = true),
    Escape: back,
  });
}

function pause(): void {
  togglePause();
  say(isPaused.peek() ? 'Live updates are paused.' : 'Live updates go on.');
}

/** From a field to the screen; from a detail to its list. */
function back(): void {
  const field = document.activeElement as HTMLElement | null;
  if (field !== null && /^(input|textarea|select)$/i.test(field.tagName)) return field.blur();
  const [, list = '', ...detail] = address.peek().path.split('/');
  if (detail.length === 0) return;
  // The list as it was, where we came from it.
  if (canGoBack()) goBack();
  else go(href(`/${list}`));
}

function Navigation() {
  if (isNarrow.value) return <NavigationBar />;
  return (
    <nav class="nav" aria-label="Screens">
      <a class="brand" href={href('/')}>
        <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
          <path
            d="M1.5 10s3-6 8.5-6 8.5 6 8.5 6-3 6-8.5 6-8.5-6-8.5-6Z"
            fill="none"
            stroke="currentColor"
            stroke-width="1.6"
          />
          <path d="M8 7.2 12.6 10 8 12.8V7.2Z" fill="currentColor" />
        </svg>
        <span>runwatch</span>
      </a>
      <ul>
        {PLACES.map((place) => (
          <li key={place.path}>
            <PlaceLink place={place} />
          </li>
        ))}
      </ul>
      <NavigationFoot />
    </nav>
  );
}

type Place = (typeof PLACES)[number];

function isHere({ path }: Place): boolean {
  const shown = address.value.path;
  return path === '/' ? shown === '/' : shown.startsWith(path);
}

function PlaceLink({ place }: { place: Place }) {
  const { path, name, icon } = place;
  const count = path === '/' ? attentionCount.value : 0;
  return (
    <a href={href(path)} aria-current={isHere(place) ? 'page' : undefined} title={name}>
      <Icon path={icon} />
      <span class="nav-name">{name}</span>
      {count > 0 && (
        <span class="badge" title="need a person">
          {countText(count)}
        </span>
      )}
    </a>
  );
}

function Icon({ path }: { path: string }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}

/** At the foot of a narrow screen: the first places by their names, and a button for the others. */
function NavigationBar() {
  const [isOpen, setOpen] = useState(false);
  const others = PLACES.filter(({ first }) => !first);
  return (
    <nav class="nav" aria-label="Screens">
      <ul>
        {PLACES.filter(({ first }) => first).map((place) => (
          <li key={place.path}>
            <PlaceLink place={place} />
          </li>
        ))}
        <li>
          <button
            type="button"
            aria-haspopup="dialog"
            class={others.some(isHere) ? 'here' : ''}
            onClick={() => setOpen(true)}
          >
            <Icon path="M3 8h.01M8 8h.01M13 8h.01" />
            <span class="nav-name">More</span>
          </button>
        </li>
      </ul>
      {isOpen && (
        <Dialog title="More" onClose={() => setOpen(false)} className="more">
          <ul onClick={() => setOpen(false)}>
            {others.map((place) => (
              <li key={place.path}>
                <PlaceLink place={place} />
              </li>
            ))}
          </ul>
          <NavigationFoot />
        </Dialog>
      )}
    </nav>
  );
}

function NavigationFoot() {
  const { state, token, version } = session.value;
  return (
    <div class="nav-foot">
      {state === 'signed_in' && (
        <div class="who">
          <span title="the token that this browser signed in with">{token}</span>
          <button type="button" class="quiet" onClick={() => void signOut()}>
            Sign out
          </button>
        </div>
      )}
      <a href={href('/docs')} target="_blank" rel="noopener">
        API
      </a>
      <span class="faint num">{version}</span>
    </div>
  );
}

function TopBar() {
  const kiosk = isKiosk.value;
  return (
    <div class="topbar">
      <LiveMark />
      {!kiosk && (
        <div class="topbar-tools">
          <button type="button" class="search" onClick={() => (isPaletteShown.value = true)}>
            <Icon path="M7 2.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9ZM10.300 10.300l3.700 3.700" />
            <span>Go to, or do, anything</span>
            <kbd>{/mac/i.test(navigator.userAgent) ? '⌘K' : 'Ctrl K'}</kbd>
          </button>
          <button
            type="button"
            class="quiet"
            title="Show times as UTC, or in this browser's zone"
            onClick={() => setSetting({ isUtc: !settings.value.isUtc })}
          >
            {settings.value.isUtc ? 'UTC' : 'Local'}
          </button>
          <button type="button" class="quiet" title="Light or dark" onClick={nextTheme}>
            <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
              <path
                d="M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm0 1.6v9.8a4.9 4.9 0 0 1 0-9.8Z"
                fill="currentColor"
              />
            </svg>
            <span class="off-screen">Light or dark</span>
          </button>
          <button
            type="button"
            class="quiet"
            title="Keys"
            onClick={() => (isHelpShown.value = true)}
          >
            <span aria-hidden="true">?</span>
            <span class="off-screen">Keys</span>
          </button>
        </div>
      )}
    </div>
  );
}

/** A shorter break is over before a user has read of it, ms. */
const BRIEF_MS = 3_000;

/** Says that what is shown is of the past: the daemon does not answer. */
function Lost() {
  const state = connection.value;
  if (state.kind !== 'reconnecting' || now.value - state.since < BRIEF_MS) return null;
  return (
    <p class="notice warn" role="alert">
      The daemon has not answered since <Clock at={new Date(state.since).toISOString()} />: what is
      shown is from then, and is loaded anew as soon as it answers.
      {state.code !== 'unreachable' && ` ${state.why}`}
    </p>
  );
}

/** Without a word it would look as if receivers were slow. */
function SendsNothing() {
  if (session.value.sends_nothing !== true) return null;
  return (
    <p class="notice warn" role="status">
      This daemon sends nothing (<code>--no-deliver</code>): deliveries wait.
    </p>
  );
}

/** Says whether what is shown is of this moment. */
function LiveMark() {
  const state = connection.value;
  const paused = isPaused.value;
  const kind = state.kind === 'live' && paused ? 'paused' : state.kind;
  const held = heldBack.value;
  const text =
    state.kind === 'reconnecting'
      ? `Reconnecting ${shortText(now.value - state.since)}`
      : { live: 'Live', paused: 'Paused', connecting: 'Connecting' }[kind as 'live'];
  return (
    <div class={`live live-${kind}`} title={state.kind === 'reconnecting' ? state.why : undefined}>
      <span class="live-dot" aria-hidden="true" />
      <span role="status">{text}</span>
      {!isKiosk.value && kind !== 'connecting' && (
        <button
          type="button"
          class="quiet"
          aria-pressed={paused}
          onClick={togglePause}
          title="Key: ."
        >
          {paused ? 'Resume' : 'Pause'}
        </button>
      )}
      {paused && held > 0 && <span class="num faint">{countText(held)} new</span>}
    </div>
  );
}
