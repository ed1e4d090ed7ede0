package config

import "strings"

// An arg is one parameter as it was written.
type arg struct {
	name, value string
	// valued tells "name=" from "name".
	valued bool
}

// splitArgs splits a command line by the rules of the kernel's next_arg
// (lib/cmdline.c), so that both read the same parameters. It stops at "--": what
// follows is for the real init.
func splitArgs(s string) []arg {
	var args []arg
	for {
		s = strings.TrimLeft(s, blanks)
		if s == "" {
			return args
		}
		var a arg
		a, s = nextArg(s)
		if a.name == "--" && !a.valued {
			return args
		}
		args = append(args, a)
	}
}

// fileArgs reads the image's file: parameters as on the command line; a # in front
// of one begins a comment.
func fileArgs(s string) []arg {
	var args []arg
	s = strings.TrimPrefix(s, "\ufeff")
	for line := range strings.Lines(s) {
		for {
			line = strings.TrimLeft(line, blanks)
			if line == "" || line[0] == '#' {
				break
			}
			var a arg
			a, line = nextArg(line)
			args = append(args, a)
		}
	}
	return args
}

// The kernel also takes 0xa0 for a blank, which would break UTF-8. A NUL
// ends /proc/cmdline on some kernels.
const blanks = " \t\n\v\f\r\x00"

// nextArg returns the first parameter of s, which does not begin with a blank, and
// the rest.
func nextArg(s string) (a arg, rest string) {
	quoted := s[0] == '"'
	if quoted {
		s = s[1:]
	}
	inQuote := quoted
	equals, end := 0, len(s)
	for i := range len(s) {
		if !inQuote && strings.IndexByte(blanks, s[i]) >= 0 {
			end = i
			break
		}
		// An equals sign in front is part of the name, as for the kernel.
		if equals == 0 && s[i] == '=' {
			equals = i
		}
		if s[i] == '"' {
			inQuote = !inQuote
		}
	}
	text, rest := s[:end], s[end:]

	if equals == 0 {
		if quoted {
			text = strings.TrimSuffix(text, `"`)
		}
		return arg{name: text}, rest
	}
	value, valueQuoted := strings.CutPrefix(text[equals+1:], `"`)
	if quoted || valueQuoted {
		value = strings.TrimSuffix(value, `"`)
	}
	return arg{name: text[:equals], value: value, valued: true}, rest
}

// canonical is the name by which a parameter is looked up: to the kernel - and _
// are the same, and Debian takes its iscsi_ parameters in either case.
func canonical(name string) string {
	name = strings.ReplaceAll(name, "-", "_")
	if isISCSI(name) {
		name = strings.ToLower(name)
	}
	return name
}

func isISCSI(name string) bool {
	const prefix = "iscsi_"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}
