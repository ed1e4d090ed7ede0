package bootlog

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A jsonObject is a JSON object being written, a member a line. It is here
// because encoding/json would make /init 5 % larger for this one file.
type jsonObject struct {
	b      strings.Builder
	indent string
	any    bool
}

func newObject(indent string) *jsonObject {
	o := &jsonObject{indent: indent}
	o.b.WriteByte('{')
	return o
}

// raw adds a member whose value is JSON already.
func (o *jsonObject) raw(key, value string) {
	if o.any {
		o.b.WriteByte(',')
	}
	o.any = true
	o.b.WriteString("\n" + o.indent + "  " + Quote(key) + ": " + value)
}

func (o *jsonObject) text(key, value string)      { o.raw(key, Quote(value)) }
func (o *jsonObject) number(key string, n int64)  { o.raw(key, strconv.FormatInt(n, 10)) }
func (o *jsonObject) flag(key string, value bool) { o.raw(key, strconv.FormatBool(value)) }

func (o *jsonObject) seconds(key string, s float64) {
	o.raw(key, strconv.FormatFloat(s, 'f', 3, 64))
}

func (o *jsonObject) texts(key string, values []string) {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = Quote(v)
	}
	o.raw(key, "["+strings.Join(quoted, ", ")+"]")
}

// object adds a member that is an object, filled by fill.
func (o *jsonObject) object(key string, fill func(*jsonObject)) {
	inner := newObject(o.indent + "  ")
	fill(inner)
	o.raw(key, inner.String())
}

func (o *jsonObject) String() string {
	return o.b.String() + "\n" + o.indent + "}"
}

// Quote is a text as a JSON string (RFC 8259, section 7). What is not UTF-8 becomes
// U+FFFD. What a console might obey is escaped, so that the file can be shown on
// one: see printable.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == utf8.RuneError:
			b.WriteString(`\ufffd`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	b.WriteByte('"')
	return b.String()
}
