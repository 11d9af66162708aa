use ripstop_proto::Message;

use super::parse;

#[test]
fn policies_have_fabrics_bytes() {
    let cases = [
        (
            "AND('A.member', OR('B.member', 'C.member'))",
            "12161214080212020802120c120a080112020800120208011a0512030a01421a0512030a01431a0512030a0141",
        ),
        (
            "OutOf(2, 'A.member', OutOf(1, 'B.admin', 'C.client'), AND('D.peer','E.orderer'))",
            "12241222080212020804120c120a08011202080012020801120c120a080212020802120208031a0712050a014210011a0712050a014310021a0712050a014410031a0712050a014510041a0512030a0141",
        ),
        ("AND('A.member', 'A.member')", "120c120a080212020800120208011a0512030a01411a0512030a0141"),
        ("OutOf('2','A.member','B.member')", "120c120a080212020800120208011a0512030a01411a0512030a0142"),
        ("OutOf(0, 'A.member')", "12061204120208001a0512030a0141"),
        (
            "OutOf(4, 'A.member', 'B.member', 'C.member')",
            "1210120e08041202080012020801120208021a0512030a01411a0512030a01421a0512030a0143",
        ),
        (
            "OutOf(2.7, 'A.member','B.member','C.member')",
            "1210120e08021202080012020801120208021a0512030a01411a0512030a01421a0512030a0143",
        ),
        ("OutOf(1+1, 'A.member','B.member')", "120c120a080212020800120208011a0512030a01411a0512030a0142"),
        ("OR('A.member','B.member');", "120c120a080112020800120208011a0512030a01411a0512030a0142"),
        ("AND('A.member',)", "120812060801120208001a0512030a0141"),
        ("OR(\"A.member\", 'B.member')", "120c120a080112020800120208011a0512030a01411a0512030a0142"),
    ];
    for (text, expected) in cases {
        let envelope = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(hex::encode(envelope.encode_to_vec()), expected, "{text}");
    }
}

#[test]
fn errors_have_fabrics_texts() {
    let cases = [
        ("and('A.member','B.member')", "unexpected token Operator(\"and\") (1:1)\n | and('A.member','B.member')\n | ^"),
        ("or('A.member','B.member')", "unexpected token Operator(\"or\") (1:1)\n | or('A.member','B.member')\n | ^"),
        (
            "OutOf(1, 'Org-1.member', 'Org_2.peer', 'org.3.admin')",
            "unknown name Org_2 (1:26)\n | outof(1, 'Org-1.member', Org_2.peer, 'org.3.admin')\n | .........................^",
        ),
        ("OutOf(-1, 'A.member')", "invalid t-out-of-n predicate, t -1, n 1 (1:1)\n | outof(ID, -1, 'A.member')\n | ^"),
        ("OR('A.MEMBER')", "unknown name A (1:10)\n | outof(1, A.MEMBER)\n | .........^"),
        ("OR('A.Member')", "unknown name A (1:10)\n | outof(1, A.Member)\n | .........^"),
        ("OR('Orgé.member')", "unknown name Orgé (1:10)\n | outof(1, Orgé.member)\n | .........^"),
        ("", "unexpected token EOF"),
        ("A.member", "unknown name A (1:1)\n | A.member\n | ^"),
        ("'A.member'", "unknown name A (1:1)\n | A.member\n | ^"),
        ("AND()", "expected at least two arguments to NOutOf. Given 1 (1:1)\n | AND()\n | ^"),
        ("OR()", "expected at least two arguments to NOutOf. Given 1 (1:1)\n | OR()\n | ^"),
        ("OutOf()", "expected at least two arguments to NOutOf. Given 0 (1:1)\n | OutOf()\n | ^"),
        ("OutOf(1)", "expected at least two arguments to NOutOf. Given 1 (1:1)\n | OutOf(1)\n | ^"),
        ("AND('A.member'", "unexpected token EOF (1:14)\n | AND('A.member'\n | .............^"),
        ("OR('A.wrongrole')", "unknown name A (1:10)\n | outof(1, A.wrongrole)\n | .........^"),
        ("OR('A')", "unknown name A (1:10)\n | outof(1, A)\n | .........^"),
        ("OR('.member')", "unexpected token Operator(\".\") (1:10)\n | outof(1, .member)\n | .........^"),
        ("OR('A.')", "expected name (1:12)\n | outof(1, A.)\n | ...........^"),
        ("XOR('A.member','B.member')", "unknown name XOR (1:1)\n | XOR('A.member','B.member')\n | ^"),
        ("OutOf('x','A.member')", "unknown name x (1:7)\n | outof(x, 'A.member')\n | ......^"),
        ("OutOf(1, 'A.member', 2)", "unexpected type int (1:1)\n | OutOf(1, 'A.member', 2)\n | ^"),
        ("OR(1)", "unexpected type int (1:1)\n | OR(1)\n | ^"),
        (
            "AND('A.member' 'B.member')",
            "unexpected token String(\"B.member\") (1:16)\n | AND('A.member' 'B.member')\n | ...............^",
        ),
        ("OR(A.member)", "unknown name A (1:4)\n | OR(A.member)\n | ...^"),
        ("AND(1, 'A.member')", "unexpected type int (1:1)\n | AND(1, 'A.member')\n | ^"),
        ("OutOf(3, 'A.member')", "invalid t-out-of-n predicate, t 3, n 1 (1:1)\n | outof(ID, 3, 'A.member')\n | ^"),
        ("OutOf(-2,'A.member')", "invalid t-out-of-n predicate, t -2, n 1 (1:1)\n | outof(ID, -2, 'A.member')\n | ^"),
        ("OR('A B.member')", "unexpected token Identifier(\"B\") (1:12)\n | outof(1, A B.member)\n | ...........^"),
        ("OutOf(1,,'A.member')", "unexpected token Operator(\",\") (1:9)\n | OutOf(1,,'A.member')\n | ........^"),
        ("OR('A.member'))", "unexpected token Bracket(\")\") (1:15)\n | OR('A.member'))\n | ..............^"),
        (
            "AND('A.member', OutOf(0))",
            "expected at least two arguments to NOutOf. Given 1 (1:17)\n | AND('A.member', OutOf(0))\n | ................^",
        ),
        (
            "AND('A.member',\nOR('B'))",
            "unknown name B (1:31)\n | outof(2, 'A.member', outof(1, B))\n | ..............................^",
        ),
        ("AND(@)", "unrecognized character: U+0040 '@' (1:5)\n | AND(@)\n | ....^"),
        ("AND('A.member", "literal not terminated (1:14)\n | AND('A.member\n | .............^"),
        ("OutOf(true, 'A.member')", "unexpected type bool (1:1)\n | OutOf(true, 'A.member')\n | ^"),
        ("   ", "unexpected token EOF (1:3)\n |    \n | ..^"),
        ("AND.x", "type func(...interface {}) (interface {}, error) has no field x (1:5)\n | AND.x\n | ....^"),
        (
            "OutOf(99999999999999999999, 'A.member')",
            "invalid integer literal: strconv.ParseInt: parsing \"99999999999999999999\": value out of range (1:27)\n | OutOf(99999999999999999999, 'A.member')\n | ..........................^",
        ),
        (
            "OR(AND('A.member', OutOf(9, 'B.member')), 'C.member')",
            "invalid t-out-of-n predicate, t 9, n 1 (1:39)\n | outof(ID, 1, outof(ID, 2, 'A.member', outof(ID, 9, 'B.member')), 'C.member')\n | ......................................^",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    for open in ["(", "-", "OR("] {
        assert!(parse(&open.repeat(100_000)).is_err());
    }
}
