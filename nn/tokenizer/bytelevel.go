package tokenizer

// The byte-level alphabet of GPT-2: every byte has a printable character. Bytes
// that are printable in Latin-1 stand for themselves, the others take the
// characters from U+0100 on, in order.
var (
	byteRune [256]rune
	runeByte = make(map[rune]byte, 256)
)

func init() {
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		printable := b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE
		if !printable {
			r, next = next, next+1
		}
		byteRune[b] = r
		runeByte[r] = byte(b)
	}
}

// fromByteLevel returns the bytes that a token in the alphabet stands for; ok is
// false when some character is outside of it.
func fromByteLevel(token string) (raw string, ok bool) {
	out := make([]byte, 0, len(token))
	for _, r := range token {
		b, ok := runeByte[r]
		if !ok {
			return "", false
		}
		out = append(out, b)
	}
	return string(out), true
}
