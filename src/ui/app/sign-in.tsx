import { useState } from 'preact/hooks';
import { messageOf } from '../api/request.ts';
import { signIn } from '../api/session.ts';

/** Asks for a token once; the daemon gives a cookie for it. */
export function SignIn() {
  const [token, setToken] = useState('');
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    const failed = await signIn(token.trim()).catch(messageOf);
    setBusy(false);
    setProblem(failed);
  };
  return (
    <main class="sign-in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h1>runwatch</h1>
        <p>Sign in with a token of this daemon, such as the value of RUNWATCH_API_TOKEN.</p>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="current-password"
          required
          autoFocus
          value={token}
          aria-describedby={problem === null ? undefined : 'problem'}
          onInput={({ currentTarget }) => setToken(currentTarget.value)}
        />
        {problem !== null && (
          <p id="problem" class="problem" role="alert">
            {problem}
          </p>
        )}
        <button class="primary" disabled={isBusy}>
          Sign in
        </button>
        <p class="faint">
          The token is sent once and not kept here: this browser gets a session, which ends when it
          was not used for 12 hours, when you sign out, or when the token does.
        </p>
      </form>
    </main>
  );
}
