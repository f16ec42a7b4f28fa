import { drawWish, type Patience, readOf, type Wish } from './client-wish.js'
import { type Client, type ClientRoom, CoreClient, LineClient } from './clients.js'
import type { Dice } from './dice.js'
import { type Member, STEADY } from './fleet.js'

/** Finding the owner of a name, and the longest `totalTimeout` of a fleet; a question to the client has ten minutes. */
const CALL_MS = 5_000 + 40_000 + 1_000
const PATIENCE: Patience = { callMs: CALL_MS, askMs: 2 * CALL_MS + 600_000 }

const STAMPEDE = 40

/** Many clients at once, who come, ask, change their minds and go. */
export class Crowd {
  readonly clients: Client[] = []
  readonly #dice: Dice
  #nextClient = 0
  #nextNonce = 0

  constructor(
    private readonly room: ClientRoom,
    private readonly fleet: readonly Member[],
    private readonly until: number,
    /** Two clients at once, none of whom takes his time. */
    private readonly isSmall: boolean,
  ) {
    this.#dice = room.world.dice('crowd')
  }

  gather(): void {
    const size = this.isSmall ? 2 : this.#dice.between(2, 6)
    for (let i = 0; i < size; i += 1) {
      const at = this.isSmall ? 0 : this.#dice.between(0, 3_000)
      this.room.world.after(at, () => this.#live(this.#enter()))
    }
    const stampedes = this.isSmall ? 0 : this.#dice.between(0, 3)
    for (let i = 0; i < stampedes; i += 1) {
      this.room.world.after(this.#dice.between(0, this.until - 1_000), () => this.#stampede())
    }
  }

  /** Everybody reads from one server at the same moment, and in the middle of it the server dies. */
  #stampede(): void {
    const { world } = this.room
    const member = this.#dice.pick(this.fleet.filter(({ name }) => name !== STEADY))
    const client = this.#enter(true)
    for (let i = 0; i < STAMPEDE; i += 1) {
      const wish = readOf(member, this.nonce(), PATIENCE.callMs)
      world.after(this.#dice.between(0, 20), () => client.ask(wish))
    }
    if (this.#dice.chance(0.7)) world.after(this.#dice.between(5, 30), () => member.crash())
  }

  /** Somebody who only asks what the test wants. */
  visitor(): Client {
    return this.#enter(true)
  }

  nonce(): string {
    return `n${this.#nextNonce++}`
  }

  get patience(): Patience {
    return PATIENCE
  }

  close(): void {
    for (const client of this.clients) if (client instanceof LineClient) client.close()
  }

  leave(): void {
    for (const client of this.clients) client.leave()
  }

  #enter(plain = false): Client {
    const dice = this.#dice
    const name = `c${this.#nextClient++}`
    const era = dice.pick(['legacy', 'modern'] as const)
    const canBeAsked = era === 'legacy' && !plain && dice.chance(0.6)
    const isLine = dice.chance(0.75)
    const client = isLine
      ? new LineClient(this.room, name, { era, canBeAsked, textIds: dice.chance(0.2) })
      : new CoreClient(this.room, name, era)
    this.clients.push(client)
    return client
  }

  /** Asks again and again, sometimes in a burst, until the end or until it leaves. */
  #live(client: Client): void {
    const { world } = this.room
    const dice = this.#dice
    if (world.now >= this.until) return
    if (client.gone) return this.#live(this.#enter())
    const burst = dice.chance(0.1) ? dice.between(2, 12) : 1
    for (let i = 0; i < burst; i += 1) this.#ask(client, drawWish(dice, this.fleet, this.nonce(), PATIENCE))
    if (dice.chance(0.02)) client.leave()
    world.after(dice.chance(0.1) ? dice.between(3_000, 12_000) : dice.between(1, 2_500), () =>
      this.#live(client),
    )
  }

  #ask(client: Client, wish: Wish): void {
    const id = client.ask(wish)
    const { world } = this.room
    if (this.#dice.chance(0.08)) world.after(this.#dice.between(0, 4_000), () => client.cancel(id))
  }
}
