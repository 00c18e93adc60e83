// The token that lies, with all of SEP-41 that the bridge asks of a token it lists.
#include "token.c"

EXPORT("decimals") Value decimals(void) { return U32_VALUE(9); }
