/** The page's own code is the only script it may start; the server's policy forbids any other (relay, `trusted-types`). */

/** The little of Trusted Types that is used. The real result is an object that only the browser can make into a text. */
interface PolicyFactory {
  createPolicy(name: 'lanyard', rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

declare global {
  interface Window {
    /** Chromium, Safari 26; elsewhere texts are taken as they are. */
    readonly trustedTypes?: PolicyFactory;
  }
}

const policy = window.trustedTypes?.createPolicy('lanyard', {
  createScriptURL: (url) => {
    if (new URL(url, location.origin).origin !== location.origin) throw new TypeError('a script of another origin');
    return url;
  },
});

/** The address of a script of this build, as workers take it. */
export function ownScript(url: string): string {
  return policy === undefined ? url : policy.createScriptURL(url);
}
