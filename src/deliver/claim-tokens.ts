/** What this process holds in the store, by the tokens that it gave. */
export interface ClaimTokens {
  /** A token to ask for claims with: it counts as held until the answer is there. */
  ask(): string;
  /** The answer to a token: so many claims. */
  got(token: string, claims: number): void;
  /** One of its claims has been written or given back. */
  end(token: string): void;
  /** No answer came: what was claimed is not held here. */
  lose(token: string): void;
  isHeld(token: string): boolean;
}

export function createClaimTokens(next: () => string): ClaimTokens {
  const held = new Map<string, number>();
  const end = (token: string) => {
    const left = (held.get(token) ?? 0) - 1;
    if (left > 0) held.set(token, left);
    else held.delete(token);
  };
  return {
    ask() {
      const token = next();
      held.set(token, 1);
      return token;
    },
    got(token, claims) {
      if (claims === 0) held.delete(token);
      else held.set(token, claims);
    },
    end,
    lose: (token) => void held.delete(token),
    isHeld: (token) => held.has(token),
  };
}
