import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { follow } from './api/live.ts';
import { loadSession, may, session } from './api/session.ts';
import { startKeys } from './app/keys.ts';
import { startPress } from './app/press.ts';
import { startRouter } from './app/router.ts';
import { Screen } from './app/screen.tsx';
import { Shell } from './app/shell.tsx';
import { SignIn } from './app/sign-in.tsx';
import './style/base.css';
import './style/parts.css';
import './style/screens.css';

const RETRY_MS = 2_000;

function App() {
  const [isAway, setAway] = useState(false);
  const { state } = session.value;
  useEffect(() => {
    if (state !== 'unknown') return;
    const attempt = () => loadSession().then(() => setAway(false), retry);
    const retry = () => {
      setAway(true);
      window.setTimeout(() => void attempt(), RETRY_MS);
    };
    void attempt();
  }, [state]);
  if (state === 'unknown') return isAway ? <Away /> : null;
  return state === 'signed_out' ? <SignIn /> : <SignedIn />;
}

function SignedIn() {
  useEffect(() => {
    const stop = new AbortController();
    if (may.read.value) void follow(stop.signal);
    return () => stop.abort();
  }, []);
  return (
    <Shell>
      <Screen />
    </Shell>
  );
}

function Away() {
  return (
    <main class="sign-in">
      <p role="status">The daemon does not answer. Trying again every 2 s.</p>
    </main>
  );
}

startRouter();
startKeys();
startPress();
const app = document.querySelector('#app');
if (app !== null) render(<App />, app);
