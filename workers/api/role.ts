/** Groups of roles that several routes name. */
import type { Role } from "../../schemas/api.ts";

/** Everyone but the machines that have doors of their own. */
export const peopleRoles = ["uploader", "viewer", "editor", "render", "admin"] as const satisfies readonly Role[];
