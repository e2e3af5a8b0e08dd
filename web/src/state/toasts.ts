import type { Model, Notice } from './model';

/** Beyond these the oldest leaves at once. */
const SHOWN = 5;

export class Toasts {
  #next = 0;

  constructor(private readonly model: Model) {}

  show(notice: Notice): void {
    this.#next += 1;
    this.model.toasts.push({ id: `toast-${String(this.#next)}`, notice });
    if (this.model.toasts.length > SHOWN) this.model.toasts.shift();
  }

  dismiss(id: string): void {
    this.model.toasts = this.model.toasts.filter((toast) => toast.id !== id);
  }
}
