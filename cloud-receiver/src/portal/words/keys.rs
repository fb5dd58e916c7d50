//! Words of the page about the receiver's keys and certificates.

topic! { KeyWords;
    keys: "鍵と証明書" | "Keys and certificates";
    keys_hint: "鍵の変更は、鍵のフォルダーに書き込み、封をした控えの作り直しと再起動が必要なため、サーバーのコマンドで行います。この画面は状態と次の手順を示します。" | "Keys are changed by commands on the machine, because they write into the folder of the keys, and want a new sealed copy and a restart. This page says how things are, and what comes next.";
    key_id: "鍵のID" | "Key ID";
    fingerprint: "指紋" | "Fingerprint";
    good_until: "有効期限" | "Good until";
    master: "マスター鍵" | "Master key";
    master_hint: "契約ごとの鍵を守る鍵です。変更には次のコマンドを使います。" | "It guards the key of each contract. This command changes it.";
    master_restart: "マスター鍵が変更されました。受信サーバーを再起動してください。それまで、契約の追加ができません。" | "The master key was changed: please restart the receiver. Until then no contract can be added.";
    wraps: "守っている契約の鍵" | "Contract keys under it";
    changed: "変更" | "Changed";
    never_changed: "一度も変更していません" | "Never";
    copied: "契約の鍵の書き出し" | "Contract keys written out";
    never_copied: "コマンドでの書き出しはありません" | "Never by command";
    ca: "認証局（CA）" | "Certificate authority (CA)";
    ca_restart: "CAがコマンドで変更されました。受信サーバーを再起動してください。" | "A command has changed the CA: please restart the receiver.";
    ca_rest: "装置の証明書を発行する、受信サーバー自身の認証局です。新しいものへの切り替えには次のコマンドを使います。" | "The receiver's own, which issues the certificates of devices. This command puts a new one in its place.";
    ca_waits: "新しいCAに切り替えている途中です。すべての装置が証明書を更新し、発行済みの登録コードが使われるか期限が切れるまで、前のCAも信頼します。" | "A change of the CA is under way. The one before is trusted until every device has renewed its certificate, and no claim code of before can be used.";
    ca_can_retire: "前のCAを必要とする装置はありません。次のコマンドで切り替えを終え、再起動してください。" | "Nobody needs the CA before any more. This command ends the change; then restart the receiver.";
    ca_before: "前のCA" | "The CA before";
    succeeded: "切り替えの開始" | "Succeeded on";
    followed: "このCAの証明書を持つ装置" | "Devices with a certificate of it";
    behind: "まだ証明書を更新していない装置" | "Devices that have not renewed yet";
    locked_out: "接続できなくなった装置" | "Devices that are locked out";
    locked_out_hint: "終了したCAの証明書を持つ装置です。登録コードを発行し、装置で登録し直してください。" | "Theirs is of a CA that was retired. Give each a new claim code and enroll it again.";
    open_codes: "未使用の登録コード" | "Claim codes not used yet";
    portal: "ポータルの証明書" | "The portal's certificate";
    portal_own: "公的な証明書は設定されていません。ブラウザーには受信サーバー自身の証明書を示します。" | "No public certificate is configured: browsers are shown the receiver's own.";
    portal_bad: "証明書がないか、期限が近いのに更新されていません。原因を確かめてください。" | "There is none, or it was not renewed though its end is near. Please see to it.";
    portal_source: "入手元" | "From";
    portal_next: "次の試み" | "Next attempt";
    signing: "署名の公開鍵" | "Public key of signatures";
    signing_hint: "署名付きの要約、書き出し、消去証明書の確認に使います。秘密ではありません。確認する方には、別の方法でお伝えください。" | "Heads, exports and certificates of erasure are checked with it. It is no secret; tell it to whoever checks them on another way.";
}
