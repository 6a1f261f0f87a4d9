"""The most frequent words of languages that Snowball stems: they tell a text's language and say nothing else of it."""

FREQUENT_WORDS = {
    "english": "a about after all also an and any are as at be because been but by can could do does for from had "
    "has have he her his how i if in into is it its may more most my no not of on one only or other our out over "
    "she should so some such than that the their them then there these they this to up was we were what when "
    "where which who why will with would you your",
    "spanish": "a al algo ante aunque bajo cada como con contra cual cuando de del desde donde dos durante e el "
    "ella ellas ellos en entre era es esa ese eso esta este esto fue ha han hasta hay la las le les lo los mas me "
    "mi muy no nos o otra otro para pero por porque que quien se ser si sin sobre son su sus tambien te tiene "
    "todo todos tu un una uno unos y ya yo",
    "french": "a alors au aux avec ce ces cette comme dans de des donc du elle elles en est et etaient etait ete "
    "etre eu il ils je la le les leur leurs lui mais me meme mes moi mon ne nos notre nous on ont ou par pas plus "
    "pour qu que qui sa sans se ses si son sont sur ta te tes tout tres tu un une vos votre vous y",
    "german": "aber alle als also am an auch auf aus bei bin bis das dass dem den der des dich die dies diese dir "
    "doch du durch ein eine einem einen einer eines er es fur hat hatte hier ich ihm ihn ihr im in ist ja kann "
    "kein keine man mehr mein mich mit nach nicht noch nun nur ob oder ohne sehr sein sich sie sind so uber um "
    "und uns unter vom von vor war was weil wenn wer werden wie wir wird wo zu zum zur",
    "italian": "a ad ai al alla alle allo anche avere aveva che chi ci come con cosa da dal dalla dei del della "
    "delle dello di dove e ed era essere fra gli ha hanno ho i il in io la le lei lo loro lui ma mi mio ne nei "
    "nel nella noi non o per perche piu quale quando questa questo se sei si sia sono su sua sul suo tra tu tutti "
    "tutto un una uno vi voi",
    "portuguese": "a ao aos as ate com como da das de dela dele do dos e ela elas ele eles em entre era essa esse "
    "esta este eu foi ha isso isto ja lhe mais mas me mesmo meu minha muito na nao nas nem no nos o os ou para "
    "pela pelo por qual quando que quem se sem ser seu sua suas so tambem te tem um uma voce",
    "dutch": "aan al als altijd ben bij daar dan dat de der deze die dit doch doen door dus een en er geen haar "
    "had heb hebben heeft hem het hier hij hoe hun iemand ik in is ja je kan maar me meer met mij mijn naar niet "
    "nog nu of om ons ook op over te tegen toch toen tot uit uw van veel voor want waren was wat we wel wie wij "
    "wil worden zal ze zei zelf zich zij zijn zo zonder zou",
    "romanian": "a acest aceasta ai ale al am ar are au avea ca care cand cat ce cea cei cel cele cine cu cum da "
    "dar de din dintre dupa el ele este eu fi fie fost iar ii il in intre isi la lor lui mai mea nu o "
    "pe pentru prin sa sau se si sunt sub tot un una unde unei unor unui va",
    "catalan": "a al als amb aquest aquesta com de del dels des el els en entre era es esta ha han hi i la les li "
    "mes molt ni no o on per pero perque qual quan que qui s se ser seu seva si sobre son tambe te tot "
    "un una va van",
    "swedish": "alla att av bara blev blir bli da de dem den denna dess det detta du efter ej eller en enligt ett "
    "for fran genom ha hade han har hans hon hur i inte jag kan kunde man med mellan men mot mycket na "
    "nar nu och om pa sa samt sedan sig sin sina ska som till under upp ut vad var vara vart vem vi vid "
    "vilka vilken vilket",
    "danish": "af alle at blev blive bliver da de dem den denne der deres det dette dig du efter ej eller en end "
    "er et for fra gennem ham han hans har havde hende her hun hvad hvem hvilke hvilken hvor hvordan i "
    "ikke ind jeg kan kunne man med meget mellem men mod nar ned nogle nu og ogsa om op over pa sig "
    "siden sin skal som til ud under var ved vi vil",
    "norwegian": "alle at av ble bli blir da de dem den denne der deres det dette du eller en enn er et etter for "
    "fra gjennom ham han hans har hadde her hun hva hvem hvilke hvilken hvor hvordan i ikke inn jeg kan "
    "kunne man med mellom men mot mye nar ned noen na og ogsa om opp over pa seg siden sin skal skulle "
    "som til ut under var ved vi vil",
    "finnish": "ei eivat en etta han hanen he ja jo joka jolla jonka jos jossa jota jotka kanssa kuin kuinka kuka "
    "kun milla milloin minka missa mita miten mukaan mutta myos ne niin nyt oli olla olivat ollut on "
    "ovat saa se sekä sen sita taalla tai tama taman tassa tata tuo vain vai voi",
    "hungarian": "a akar aki amely ami az azt be csak de e egy egyik el ennek es ez ezt fel ha hany hogy hol is kell "
    "ki kik le lehet lesz ma mar meg melyik mely mert mi mikor milyen mind mint nagy ne nem nincs o "
    "pedig s sem szerint tobb utan vagy van volt voltak",
    "polish": "a ale bez bo by byc byl byla byli bylo byly co czy dla do gdy gdzie go i ich ile ja jak jako je "
    "jego jej jest juz kiedy kto ktora ktore ktory lub ma moze na nad nie niz o od on oraz po pod poza "
    "przed przez przy sa sie tak tego tej ten to tych tylko tym w we z za ze",
    "czech": "a aby ale ani az byl byla bylo byly by co do i jak jako je jeho jej jejich jen jenz ji jiz jsem "
    "jsou k kde kdo kdy kolik ktera ktere ktery ma mezi na nad ne nebo nebyl neni o od on pak po pod "
    "podle pro proto pred pri s se si tak take tento ti to toho tom u v ve vsak z za ze",
    "turkish": "ama ancak bir biri bu buna bunu cok da daha de degil diye en gibi hangi hem her icin ile ise "
    "itibaren kac kadar ki kim ko mi mu ne neden nedir nerede nasil o olan olarak oldu oldugu olmak "
    "olup once ona onu onun sonra su tarafindan tum uzere var ve veya ya yani yer yok zaman",
    "indonesian": "ada adalah agar akan antara apa atas atau bagaimana bagi bahwa banyak beberapa berapa bisa dalam "
    "dan dapat dari dengan di dia hanya harus ia ini itu juga kapan karena ke kepada lebih maka mana "
    "mereka namun oleh pada para saat saja sangat sebagai sebuah secara sejak seorang seperti serta "
    "siapa sudah tahun telah tersebut tidak untuk yang",
    "greek": "αλλα αν απο αυτα αυτες αυτη αυτο αυτοι αυτος για δεν δυο ειναι εναν ενας ενω ενα επισης εχει εχουν "
    "η ηταν θα κατα και καθως κι μας με μετα μεταξυ μη μια μπορει ο οι οπου οπως οταν οτι ποια ποιες "
    "ποιο ποιοι ποιος ποσα ποσο ποτε που πριν προς πως σαν σε σου στα στη στην στις στο στον στους "
    "συμφωνα τα την της τι τις το τον του τους των υπο ως",
    "russian": "а без более бы был была были было быть в вам вас во вот все всех вы где да для до его ее ей если "
    "есть еще же за здесь и из или им их к как какая какие какой когда кого которая которое которой "
    "которые который кто ли между меня мне мы на над не него нее нет ни но ну о об один она они оно он "
    "от очень по под после при с сколько со так также там тем то того только том у уже чего чем что "
    "чтобы эта эти это этого этом этот я",
    "arabic": "أن إن أو أي أين إذا إلا إلى التي الذي الذين الى ان او اي بعد بعض بن به بها بين تحت تلك ثم حتى حول "
    "حيث خلال دون ذلك سوف عام عدد عن عند على غير فقد في فيه فيها قبل قد كان كانت كل كم كما كيف لا لدى "
    "لقد لكن لم لن له لها لماذا ليس ما ماذا مثل مع من منذ منها منه متى نحو هذا هذه هل هم هناك هو هي و "
    "وقد وكان ولا وهو وهي ومن وفي يتم يكون",
    "persian": "آن آنها آیا از است اما ان او این اینکه با باید بر برای بسیار بود بودند به بی بین پس پیش تا تر توسط "
    "چرا چند چه چون چگونه حتی خود در دارد داشت دو دیگر را روی سال شد شده شود شوند طور که کجا کدام کرد "
    "کردند کرده کند کنند کسی کی گفت ما من می نیز نیست ها های هر هم همه هنگام و ولی وی یا یک یکی",
    "hindi": "अपनी अपने अब अभी आदि आप इन इनके इस इसका इसकी इसके इसे उन उनका उनकी उनके उन्हें उन्होंने उस उसका "
    "उसकी उसके उसने उसे एक एवं ऐसे और क्या क्यों कब कई कर करते करना करने करता कहा कहाँ का कि किया किस "
    "किसने किसी की कुछ के केवल कैसे को कोई कौन कौनसा गई गए गया चाहिए जब जहाँ जा जाता जाती जाने जिन जिस "
    "जैसे जो तक तथा तब तो था थी थे दिया दो द्वारा न नहीं ने पर पास फिर बहुत बाद बारे भी मगर मुझे में "
    "मैं यदि यह या ये रहा रही रहे लिए ले लेकिन व वह वहाँ वाले वे सकता सकते सबसे सभी साथ से हम ही हुआ "
    "हुई हुए है हैं हो होता होती होने",
    "nepali": "अनि अरू आफ्नो उनी एक एवं गर्न गर्ने गरेको गरेका गर्दछ छ छन् छैन जुन जब तथा तर त्यो दिन दुई नै पनि "
    "पछि भएको भएका भने भन्ने भयो मा मात्र यस यसको यी यो र रहेको रूपमा ले लाई लागि वा सबै सो साथ हुन "
    "हुन्छ हो थियो थिए को का की के कति कहिले कहाँ कुन कसरी किन",
    "tamil": "அது அதன் அந்த அல்லது அவர் அவர்கள் இது இந்த இருந்து இல்லை உள்ள உள்ளது என என்ன என்ற என்று எந்த "
    "எப்போது எப்படி எவ்வளவு எங்கே ஏன் ஒரு கொண்டு தான் பல பற்றி பின்னர் போது போன்ற மற்றும் முதல் மேலும் "
    "யார் வரை வேண்டும்",
    "vietnamese": "ai bao bi bang boi cac cach cho cua cung cuoc da de den dieu do duoc gi gio hay hoac hon khi khong "
    "la lam len mot moi nam nao nay neu nguoi nhieu nhu nhung noi o phai qua ra rang rat sau se su tai theo thi trong "
    "truoc tu tung va vao ve ve vi voi",
}
