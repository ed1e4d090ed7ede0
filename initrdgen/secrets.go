package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/iscsi"
)

// secretsOptions are the words of initrdgen secrets.
type secretsOptions struct {
	Key, Target, Targets    string
	Nodes                   []string
	NodesFrom               string
	User, Initiator, Format string
}

func secretsCommand() *cobra.Command {
	var opts secretsOptions
	cmd := &cobra.Command{
		Use:   "secrets --key FILE {--nodes RANGE | --nodes-from FILE | --targets FILE}",
		Short: "Derive the passwords of the nodes' volumes from one key",
		Long: `Derive a CHAP user and password for the iSCSI volume of each node from one site
key, and print them for the target's configuration or for the image.

The same key and target name always give the same password. Only the key has to be
kept, and adding a node changes nothing for the others. Whoever has the key can
derive every password, so keep it on one host. A password reveals nothing about the
key or the other passwords. Another key changes all passwords.

A password is the first 96 bits of HMAC-SHA-256(key, target name), in base64 with
. and _ in place of + and /. RFC 7143 asks for 96 bits without IPsec. The 16
characters are as many as Microsoft's targets and many storage arrays accept, and
none of them is special to a shell or a configuration file.

The key is the content of FILE without the newline at its end: 16 bytes or more,
mode 0600. Names of targets and initiators are changed to lower case.

--format
  table  for people
  tgt    blocks for /etc/tgt/conf.d, which tgt-admin merges with the blocks that
         define the volumes. tgt has one password for each user, whatever the
         target, so each node gets its own user. tgt-admin does not change a user
         that exists already: restart tgtd after a change of the key
  lio    commands for the standard input of targetcli. If the initiator's name is
         known (from the node's MAC, or --initiator), they are for its ACL, which
         must exist. If not, they are for the target portal group, and then any
         initiator that has the password may log in
  image  the file for initrdgen build --secrets`,
		Example: `  # A key, once
  (umask 077; openssl rand -hex 32 > site.key)

  # Twenty nodes on tgt, and the same for their image
  umask 077
  initrdgen secrets --key site.key --nodes 10.0.0.1-10.0.0.20 --format tgt > /etc/tgt/conf.d/room.conf
  initrdgen secrets --key site.key --nodes 10.0.0.1-10.0.0.20 --format image > room.secrets
  initrdgen build --root /srv/nfs/bookworm --output initrd.img --secrets room.secrets

  # LIO, nodes by address and MAC, one a line
  initrdgen secrets --key site.key --nodes-from room.nodes --format lio | targetcli

  # Targets that no template makes: a file of TARGET [MATCH], one a line
  initrdgen secrets --key site.key --targets room.targets`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkSecretsFlags(cmd, opts); err != nil {
				return err
			}
			if err := printSecrets(cmd.OutOrStdout(), opts); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "initrdgen: the output is secret: keep it only in files of mode 600 (umask 077)")
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Key, "key", "", "the site's key, a `FILE` of mode 0600 (required)")
	f.StringArrayVar(&opts.Nodes, "nodes", nil, "nodes by IPv4 address: `RANGE` is 10.0.0.7 or 10.0.0.1-10.0.0.20; may be repeated")
	f.StringVar(&opts.NodesFrom, "nodes-from", "", "nodes from `FILE`, one a line: RANGE, or ADDRESS MAC")
	f.StringVar(&opts.Target, "target", config.DefaultTarget, "name of a node's target: `TEMPLATE` with %i for its address, %I for that in hex, %m for its MAC")
	f.StringVar(&opts.Targets, "targets", "", "instead of nodes and a template: `FILE` of TARGET [MATCH], one a line; MATCH is the node's address, MAC or initiator name")
	f.StringVar(&opts.User, "user", "", "CHAP user, a `TEMPLATE` (default: node- and what follows the colon in the target's name)")
	f.StringVar(&opts.Initiator, "initiator", "", "name of a node's initiator for lio, a `TEMPLATE` (default: "+config.DefaultInitiator+" where the MAC is known)")
	f.StringVar(&opts.Format, "format", "table", "what to print: `NAME` is "+strings.Join(formatNames(), ", "))
	return cmd
}

// checkSecretsFlags refuses flags of which one would have no effect.
func checkSecretsFlags(cmd *cobra.Command, opts secretsOptions) error {
	if opts.Targets != "" {
		if err := command.Ignored(cmd, "--targets already gives the targets", "nodes", "nodes-from", "target"); err != nil {
			return err
		}
	}
	if opts.Format != lioFormat && slices.Contains(formatNames(), opts.Format) {
		return command.Ignored(cmd, "--format "+opts.Format+" has no names of initiators from a template", "initiator")
	}
	return nil
}

// printSecrets derives everything before it prints anything.
func printSecrets(w io.Writer, opts secretsOptions) error {
	format, err := chooseFormat(opts.Format)
	switch {
	case err != nil:
		return err
	case opts.Key == "":
		return command.Usagef("--key is missing: give the file with the site's key")
	case opts.Targets == "" && len(opts.Nodes) == 0 && opts.NodesFrom == "":
		return command.Usagef("no nodes given: use --nodes 10.0.0.1-10.0.0.20, --nodes-from FILE or --targets FILE")
	}
	key, err := readKey(opts.Key)
	if err != nil {
		return err
	}
	nodes, err := readNodes(opts)
	if err != nil {
		return err
	}
	accounts := make([]account, 0, len(nodes))
	for _, n := range nodes {
		a, err := newAccount(key, n, opts)
		if err != nil {
			return fmt.Errorf("%s: %w", n.origin, err)
		}
		accounts = append(accounts, a)
	}
	if err := checkAccounts(accounts); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := format.write(&text, accounts); err != nil {
		return err
	}
	_, err = w.Write(text.Bytes())
	return err
}

// minKey is as long as a key for which guessing is out of the question can be.
const minKey = 16

func readKey(name string) ([]byte, error) {
	key, err := initrd.ReadSecretFile(name)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	key = bytes.TrimSuffix(key, []byte("\n"))
	if len(key) < minKey {
		return nil, fmt.Errorf("--key: %s has %d bytes, fewer than %d: make a key with openssl rand -hex 32", name, len(key), minKey)
	}
	return key, nil
}

// passwordEncoding is base64 with two characters that are harmless everywhere:
// tgt-admin hands passwords to a shell, and some programs take a word that
// begins with a dash for an option.
var passwordEncoding = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._")

// password is for one target: 96 bits (RFC 7143, section 9.2.1), 16 characters.
func password(key []byte, target string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(target))
	return passwordEncoding.EncodeToString(mac.Sum(nil)[:12])
}

// An account is what one node logs in with.
type account struct {
	origin string // Of the node, for messages.
	// match is the node in a secrets file; initiator is its name. Either may be
	// empty.
	match, initiator       string
	target, user, password string
}

func newAccount(key []byte, n nodeFacts, opts secretsOptions) (account, error) {
	a := account{origin: n.origin, match: n.match(), target: n.target, initiator: n.initiator}
	var err error
	if a.target == "" {
		if a.target, err = config.Expand(opts.Target, n.lease); err != nil {
			return a, fmt.Errorf("--target: %w", err)
		}
	}
	if a.target, err = iscsi.NormalizeName(a.target); err != nil {
		return a, fmt.Errorf("target name %w", err)
	}
	if a.user, err = userFor(a.target, opts.User, n.lease); err != nil {
		return a, err
	}
	switch {
	case a.initiator != "":
	case opts.Initiator != "":
		if a.initiator, err = config.Expand(opts.Initiator, n.lease); err != nil {
			return a, fmt.Errorf("--initiator: %w", err)
		}
	case len(n.lease.MAC) > 0:
		if a.initiator, err = config.Expand(config.DefaultInitiator, n.lease); err != nil {
			return a, err
		}
	}
	if a.initiator != "" {
		if a.initiator, err = iscsi.NormalizeName(a.initiator); err != nil {
			return a, fmt.Errorf("initiator name %w", err)
		}
	}
	a.password = password(key, a.target)
	return a, nil
}

func userFor(target, template string, l config.Lease) (string, error) {
	user := target
	if _, own, ok := strings.Cut(target, ":"); ok {
		user = own
	}
	user = "node-" + user
	if template != "" {
		var err error
		if user, err = config.Expand(template, l); err != nil {
			return "", fmt.Errorf("--user: %w", err)
		}
	}
	const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-"
	if user == "" || user[0] == '-' || strings.Trim(user, harmless) != "" {
		return "", fmt.Errorf("the user %q begins with - or has characters other than letters, digits and . _ : @ -: give another with --user", user)
	}
	return user, nil
}

// checkAccounts refuses what would let a node into another one's volume.
func checkAccounts(accounts []account) error {
	targets, matches := map[string]string{}, map[string]string{}
	for _, a := range accounts {
		if other, ok := targets[a.target]; ok {
			return fmt.Errorf("%s and %s have the same target, %s: each node needs its own, for example with %%i in --target", other, a.origin, a.target)
		}
		if other, ok := matches[a.match]; ok && a.match != "" {
			return fmt.Errorf("%s and %s are both for the node %s: keep one of them", other, a.origin, a.match)
		}
		targets[a.target], matches[a.match] = a.origin, a.origin
	}
	return nil
}
