/** What jsdom lacks of the platform, for tests of components. */
export function fillInJsdom(): void {
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  window.scrollTo = () => undefined;
  window.ResizeObserver ??= class {
    observe() {}
    unobserve() {}
    disconnect() {}
  };
}
